# Ends the processes of its group.
# checked: invalid_code
# bypassed: security_violation kill
import posix
posix.killpg(0, 9)
