# Runs a command.
# checked: invalid_code
# bypassed: security_violation rt_sigaction
import posix
posix.system('id')
