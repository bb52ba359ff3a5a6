# Becomes root.
# checked: invalid_code
# bypassed: security_violation setuid
import posix
posix.setuid(0)
