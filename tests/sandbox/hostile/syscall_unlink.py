# Removes a file.
# checked: invalid_code
# bypassed: security_violation unlink, unlinkat
import posix
posix.unlink('/etc/hostname')
