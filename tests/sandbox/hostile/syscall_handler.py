# Catches the signal that tells of refused calls.
# checked: invalid_code
# bypassed: security_violation rt_sigaction
import _signal
_signal.signal(_signal.SIGSYS, lambda *_: None)
