# A list of a thousand million.
# checked: memory_limit
# bypassed: memory_limit
# limits: memory=16
x = [0] * 10 ** 9
