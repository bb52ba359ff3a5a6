# Copies between descriptors in the kernel.
# checked: invalid_code
# bypassed: security_violation sendfile
import posix
posix.sendfile(1, 2, 0, 1)
