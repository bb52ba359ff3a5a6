# Fractions that grow with each step.
# checked: cpu_limit | memory_limit
# bypassed: cpu_limit | memory_limit
# limits: cpu=50
import fractions
x = fractions.Fraction(1, 3)
while True:
    x = x * x + x
