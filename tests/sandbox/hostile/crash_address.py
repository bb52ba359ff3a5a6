# Reads the memory at an address.
# checked: invalid_code
# bypassed: runtime_error
import sys
sys.modules['_ctypes'].PyObj_FromPtr(1)
