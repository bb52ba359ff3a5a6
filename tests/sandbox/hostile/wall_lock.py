# Waits for a lock that it has.
# checked: invalid_code
# bypassed: timeout
# limits: wall=200
import _thread
lock = _thread.allocate_lock()
lock.acquire()
lock.acquire()
