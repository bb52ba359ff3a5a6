# Ends as a process that could not be confined, by a status of more than eight bits.
# checked: invalid_code
# bypassed: security_violation exit_group
import posix
posix._exit(101 + 256)
