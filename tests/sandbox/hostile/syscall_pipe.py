# Makes a pipe.
# checked: invalid_code
# bypassed: security_violation pipe2
import posix
posix.pipe()
