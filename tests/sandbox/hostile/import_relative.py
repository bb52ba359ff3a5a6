# Imports from where it is not.
# checked: invalid_code
# bypassed: runtime_error ImportError
from . import secrets
