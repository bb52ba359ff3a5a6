# Ends everything that it may.
# checked: invalid_code
# bypassed: security_violation kill
import posix
posix.kill(-1, 9)
