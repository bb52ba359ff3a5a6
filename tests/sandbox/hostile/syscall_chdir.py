# Goes up, out of an empty root.
# checked: invalid_code
# bypassed: security_violation chdir
import posix
posix.chdir('..')
