# Makes a program set-user-id.
# checked: invalid_code
# bypassed: security_violation chmod, fchmodat
import posix
posix.chmod('/bin/sh', 0o4755)
