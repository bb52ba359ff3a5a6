# Reads the zygote's environment by open().
# checked: invalid_code
# bypassed: security_violation openat
result = open('/proc/1/environ', 'rb').read().decode('latin-1')
