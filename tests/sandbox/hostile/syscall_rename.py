# Renames a file.
# checked: invalid_code
# bypassed: security_violation rename, renameat
import posix
posix.rename('/etc/hostname', '/etc/hosts')
