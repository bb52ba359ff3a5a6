# Reads a file of the host.
# checked: invalid_code
# bypassed: security_violation openat
import posix
result = posix.read(posix.open('/etc/passwd', posix.O_RDONLY), 100).decode()
