# Looks for mounts by statvfs().
# checked: invalid_code
# bypassed: security_violation statfs
import posix
result = posix.statvfs('/').f_files
