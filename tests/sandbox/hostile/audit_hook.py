# Adds a hook to everything that the interpreter does.
# checked: invalid_code
# bypassed: runtime_error
import sys
sys.addaudithook(lambda event, args: 1 / 0)
result = 1
import json
eval('1')
