# Changes its mask of files.
# checked: invalid_code
# bypassed: security_violation umask
import posix
posix.umask(0)
