# Ends in the middle of its last words.
# checked: invalid_code
# bypassed: runtime_error
import posix
posix.write(1, b'\2\0\0\0\x18\0\0\0')
posix._exit(0)
