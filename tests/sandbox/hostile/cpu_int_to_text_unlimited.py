# Lifts the bound of digits.
# checked: invalid_code
# bypassed: cpu_limit
# limits: cpu=50
import sys
sys.set_int_max_str_digits(0)
result = len(str(1 << 30000000))
