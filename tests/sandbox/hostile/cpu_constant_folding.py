# A constant that the compiler would have to work out.
# checked: cpu_limit | memory_limit
# bypassed: cpu_limit | memory_limit
# limits: cpu=50 memory=16
x = (2 ** 127) ** (2 ** 127 - 1)
