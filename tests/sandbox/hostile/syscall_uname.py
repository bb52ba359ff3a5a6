# Asks for the kernel's version.
# checked: invalid_code
# bypassed: security_violation uname
import posix
result = posix.uname().release
