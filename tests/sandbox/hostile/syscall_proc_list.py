# Lists the processes.
# checked: invalid_code
# bypassed: security_violation openat
import posix
result = posix.listdir('/proc')
