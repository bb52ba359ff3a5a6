# Ends its process.
# checked: invalid_code
# bypassed: runtime_error
import posix
posix._exit(0)
