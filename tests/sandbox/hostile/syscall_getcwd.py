# Asks where it is.
# checked: invalid_code
# bypassed: security_violation getcwd
import posix
result = posix.getcwd()
