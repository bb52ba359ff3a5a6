# Gets its channel's flags.
# checked: invalid_code
# bypassed: security_violation fcntl
import posix
posix.get_inheritable(1)
