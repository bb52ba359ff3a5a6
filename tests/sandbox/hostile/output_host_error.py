# Says that it was the host's fault.
# checked: invalid_code
# bypassed: security_violation
import posix
posix.write(1, b'\2\0\0\0\x18\0\0\0' + b'\x0a\0\0\0' + bytes(20))
