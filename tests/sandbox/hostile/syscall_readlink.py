# Reads where a link points.
# checked: invalid_code
# bypassed: security_violation readlink, readlinkat
import posix
result = posix.readlink('/proc/self/exe')
