# Writes to its own memory where that would make it executable.
# checked: invalid_code
# bypassed: security_violation openat
import posix
posix.open('/proc/self/mem', posix.O_RDWR)
