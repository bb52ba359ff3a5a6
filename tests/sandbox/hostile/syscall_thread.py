# Makes a thread, as threads and the system() of the C library do.
# checked: invalid_code
# bypassed: security_violation rt_sigaction
import _thread
_thread.start_new_thread(print, ())
