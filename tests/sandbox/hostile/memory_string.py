# A string that doubles.
# checked: memory_limit
# bypassed: memory_limit
# limits: memory=16
x = 'x'
while True:
    x += x
