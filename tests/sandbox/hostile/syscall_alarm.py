# Sets a timer.
# checked: invalid_code
# bypassed: security_violation rt_sigaction
import _signal
_signal.alarm(1)
