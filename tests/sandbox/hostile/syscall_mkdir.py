# Makes a directory.
# checked: invalid_code
# bypassed: security_violation mkdir, mkdirat
import posix
posix.mkdir('/x')
