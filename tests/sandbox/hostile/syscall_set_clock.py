# Sets the clock, by a function that plugins have.
# checked: security_violation clock_settime
# bypassed: security_violation clock_settime
import time
time.clock_settime(time.CLOCK_REALTIME, 0)
