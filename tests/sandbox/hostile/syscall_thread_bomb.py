# Makes threads without end.
# checked: invalid_code
# bypassed: security_violation rt_sigaction
import _thread, time
while True:
    _thread.start_new_thread(time.sleep, (60,))
