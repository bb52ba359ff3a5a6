# Makes a descriptor to wake others by.
# checked: invalid_code
# bypassed: security_violation eventfd2
import posix
posix.eventfd(0)
