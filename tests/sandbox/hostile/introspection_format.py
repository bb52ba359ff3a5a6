# Reads attributes by a format string.
# checked: invalid_code
# bypassed: ok
import json
result = '{0.__globals__[__builtins__][open]}'.format(json.loads)
