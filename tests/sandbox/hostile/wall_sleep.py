# Sleeps.
# checked: timeout
# bypassed: timeout
# limits: wall=200
import time
time.sleep(3600)
