# Writes without end to where errors go.
# checked: invalid_code
# bypassed: cpu_limit
# limits: cpu=50
import posix
while True:
    posix.write(2, b'x' * 4096)
