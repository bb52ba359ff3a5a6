# Says that the compiler is at work, so that an open() is answered by Python.
# checked: invalid_code
# bypassed: runtime_error FileNotFoundError
import sys
sys.modules['_corbel'].compiling(True)
open('/etc/passwd')
