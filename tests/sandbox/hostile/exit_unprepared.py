# Ends as a process does that could not be confined.
# checked: invalid_code
# bypassed: security_violation exit_group
import posix
posix._exit(101)
