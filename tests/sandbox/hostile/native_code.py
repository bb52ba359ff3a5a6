# Looks for ctypes, to call anything.
# checked: invalid_code
# bypassed: runtime_error ModuleNotFoundError
import ctypes
