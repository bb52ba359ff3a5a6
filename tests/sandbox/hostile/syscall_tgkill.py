# Crashes by abort().
# checked: invalid_code
# bypassed: security_violation tgkill
import posix
posix.abort()
