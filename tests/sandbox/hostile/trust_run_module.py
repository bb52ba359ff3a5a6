# Rewrites the module that judges it.
# checked: invalid_code
# bypassed: security_violation
import sys
judge = sys.modules['corbel_run']
judge.to_json = lambda value, limit: (10, 'the host did it', '', None, ())
judge.run = None
result = 1
