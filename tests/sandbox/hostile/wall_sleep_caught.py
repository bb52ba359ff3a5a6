# Sleeps a little, for ever.
# checked: timeout
# bypassed: timeout
# limits: wall=200
import time
while True:
    time.sleep(0.05)
