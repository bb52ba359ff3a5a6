# The factorial of ten million.
# checked: cpu_limit | memory_limit
# bypassed: cpu_limit | memory_limit
# limits: cpu=50
import math
math.factorial(10 ** 7)
