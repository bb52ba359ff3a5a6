# Loads a shared object.
# checked: invalid_code
# bypassed: security_violation openat
import _imp
from importlib.machinery import ModuleSpec
spec = ModuleSpec('evil', None, origin='/tmp/evil.so')
_imp.create_dynamic(spec)
