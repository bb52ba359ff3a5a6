# Writes to descriptors that are not its own.
# checked: invalid_code
# bypassed: security_violation write
import posix
for fd in range(3, 1000):
    posix.write(fd, b'x')
