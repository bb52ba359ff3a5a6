# Loads the module of signals, to block the one that tells of refused calls.
# checked: invalid_code
# bypassed: security_violation rt_sigaction
import _signal, posix
_signal.pthread_sigmask(_signal.SIG_BLOCK, {31})
posix.open('/etc/passwd', 0)
