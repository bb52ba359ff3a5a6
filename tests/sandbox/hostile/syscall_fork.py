# Makes a process.
# checked: invalid_code
# bypassed: security_violation clone | security_violation
import posix
if posix.fork() == 0:
    posix._exit(0)
