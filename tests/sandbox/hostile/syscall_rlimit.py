# Lifts its limits.
# checked: invalid_code
# bypassed: security_violation prlimit64
import posix
result = posix.sysconf('SC_OPEN_MAX')
