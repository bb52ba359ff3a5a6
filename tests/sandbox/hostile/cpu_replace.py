# Replaces in a long text, again and again.
# checked: cpu_limit
# bypassed: cpu_limit
# limits: cpu=50
x = 'ab' * 500000
while True:
    x = x.replace('ab', 'ba')
