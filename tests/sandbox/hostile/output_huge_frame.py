# Announces a frame of gigabytes.
# checked: invalid_code
# bypassed: security_violation
import posix
posix.write(1, b'\2\0\0\0\xff\xff\xff\xff')
