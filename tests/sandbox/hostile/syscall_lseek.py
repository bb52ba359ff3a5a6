# Moves in the null device.
# checked: invalid_code
# bypassed: security_violation lseek
import posix
posix.lseek(2, 1, 0)
