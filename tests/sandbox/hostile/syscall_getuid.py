# Asks who it is.
# checked: invalid_code
# bypassed: security_violation getuid
import posix
result = posix.getuid()
