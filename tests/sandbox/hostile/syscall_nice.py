# Asks for more of the processor.
# checked: invalid_code
# bypassed: security_violation getpriority
import posix
posix.nice(-20)
