# Data nested without end.
# checked: memory_limit | runtime_error
# bypassed: memory_limit | runtime_error
# limits: memory=16
x = []
while True:
    x = [x]
