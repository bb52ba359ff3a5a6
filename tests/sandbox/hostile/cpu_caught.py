# A loop that catches everything.
# checked: cpu_limit
# bypassed: cpu_limit
# limits: cpu=50
while True:
    try:
        raise KeyboardInterrupt
    except BaseException:
        pass
