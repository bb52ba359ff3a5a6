# Waits for processes.
# checked: invalid_code
# bypassed: security_violation wait4
import posix
posix.waitpid(-1, 0)
