# Lifts the bound of its log in the module that writes it.
# checked: invalid_code
# bypassed: ok
import sys
log = sys.modules['_corbel'].log
for _ in range(10000):
    log('x' * 1000)
sys.modules['_corbel'].release_reserve()
sys.modules['_corbel'].release_reserve()
result = 1
