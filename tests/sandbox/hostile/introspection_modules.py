# Reads sys from a module that has imported it.
# checked: invalid_code
# bypassed: security_violation openat
import random
random._os.open('/etc/passwd', 0)
