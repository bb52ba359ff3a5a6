# A loop without end.
# checked: cpu_limit
# bypassed: cpu_limit
# limits: cpu=50
while True:
    pass
