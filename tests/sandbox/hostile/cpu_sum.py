# A sum over a huge range, in C.
# checked: cpu_limit
# bypassed: cpu_limit
# limits: cpu=50
sum(range(10 ** 13))
