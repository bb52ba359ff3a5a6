# A huge power, in C.
# checked: cpu_limit | memory_limit
# bypassed: cpu_limit | memory_limit
# limits: cpu=50
9 ** 9 ** 8
