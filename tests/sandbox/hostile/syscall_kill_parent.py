# Ends the zygote.
# checked: invalid_code
# bypassed: security_violation getppid
import posix
posix.kill(posix.getppid(), 9)
