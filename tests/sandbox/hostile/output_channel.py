# Fills its channel with log, without asking.
# checked: invalid_code
# bypassed: security_violation
import posix
while True:
    posix.write(1, b'\1\0\0\0\0\x10\0\0' + b'x' * 4096)
