# Sets a file's attributes.
# checked: invalid_code
# bypassed: security_violation setxattr
import posix
posix.setxattr('/bin/sh', 'user.x', b'y')
