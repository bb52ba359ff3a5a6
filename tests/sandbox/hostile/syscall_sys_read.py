# Reads how the kernel is set up.
# checked: invalid_code
# bypassed: security_violation openat
result = open('/sys/kernel/security/lsm').read()
