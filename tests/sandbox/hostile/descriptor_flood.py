# Opens descriptors without end.
# checked: invalid_code
# bypassed: security_violation fcntl
import posix
while True:
    posix.dup(2)
