# Waits for another request on its channel.
# checked: invalid_code
# bypassed: timeout
# limits: wall=200
import posix
posix.read(0, 1)
