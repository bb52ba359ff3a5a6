# Asks whether a file may be read.
# checked: invalid_code
# bypassed: security_violation access, faccessat
import posix
result = posix.access('/etc/shadow', posix.R_OK)
