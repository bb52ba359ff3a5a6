# Asks for the times of the machine.
# checked: invalid_code
# bypassed: security_violation times
import posix
result = posix.times().elapsed
