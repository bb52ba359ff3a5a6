# Ends by an exception, and goes on in its last words.
# checked: cpu_limit
# bypassed: cpu_limit
# limits: cpu=50
try:
    1 / 0
finally:
    while True:
        pass
