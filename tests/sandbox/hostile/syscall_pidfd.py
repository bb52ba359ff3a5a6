# Gets a handle of another process.
# checked: invalid_code
# bypassed: security_violation pidfd_open
import posix
posix.pidfd_open(1)
