# Makes a link to the host's files.
# checked: invalid_code
# bypassed: security_violation symlink, symlinkat
import posix
posix.symlink('/etc', '/x')
