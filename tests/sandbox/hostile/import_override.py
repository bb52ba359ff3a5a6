# Replaces the importer of its builtins.
# checked: invalid_code
# bypassed: security_violation openat
__builtins__['__import__'] = None
__builtins__['open']('/etc/passwd')
