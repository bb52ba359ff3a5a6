# Asks whether a file exists.
# checked: invalid_code
# bypassed: security_violation newfstatat
import posix
result = posix.stat('/etc/shadow').st_size
