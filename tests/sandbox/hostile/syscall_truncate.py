# Empties a file.
# checked: invalid_code
# bypassed: security_violation truncate
import posix
posix.truncate('/etc/hostname', 0)
