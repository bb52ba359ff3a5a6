# Copies its channel to another descriptor.
# checked: invalid_code
# bypassed: security_violation dup3
import posix
posix.dup2(1, 0, False)
