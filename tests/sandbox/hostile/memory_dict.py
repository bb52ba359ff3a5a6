# A dictionary that grows.
# checked: memory_limit
# bypassed: memory_limit
# limits: memory=16
x = {}
while True:
    x[len(x)] = str(len(x))
