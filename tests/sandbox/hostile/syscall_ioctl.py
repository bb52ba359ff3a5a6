# Types into a terminal.
# checked: invalid_code
# bypassed: security_violation ioctl
import posix
posix.tcgetpgrp(2)
