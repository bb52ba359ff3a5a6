# Asks for the load.
# checked: invalid_code
# bypassed: security_violation sysinfo
import posix
result = posix.getloadavg()
