# Has copy.copy() call what it names.
# checked: invalid_code
# bypassed: security_violation openat
import copy
class Bomb:
    def __reduce_ex__(self, version):
        return open, ('/etc/passwd',)
copy.copy(Bomb())
