# Starts a shell; signals are blocked meanwhile, so nobody says the name of the call.
# checked: invalid_code
# bypassed: security_violation
import posix
posix.posix_spawn('/bin/sh', ['sh'], {})
