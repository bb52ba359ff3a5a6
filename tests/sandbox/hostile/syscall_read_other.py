# Reads from descriptors that are not its own.
# checked: invalid_code
# bypassed: security_violation read
import posix
for fd in range(1, 1000):
    posix.read(fd, 1)
