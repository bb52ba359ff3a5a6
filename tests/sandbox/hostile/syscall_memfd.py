# Makes a file in memory, to run it from there.
# checked: invalid_code
# bypassed: security_violation memfd_create
import posix
posix.memfd_create('x')
