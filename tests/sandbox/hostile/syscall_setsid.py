# Leaves its session.
# checked: invalid_code
# bypassed: security_violation setsid
import posix
posix.setsid()
