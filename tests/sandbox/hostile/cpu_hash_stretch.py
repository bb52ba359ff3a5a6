# A key by a thousand million rounds.
# checked: cpu_limit
# bypassed: cpu_limit
# limits: cpu=50
import hashlib
x = b'x'
while True:
    x = hashlib.sha512(x).digest()
