# A result beyond its limit.
# checked: output_limit
# bypassed: output_limit
result = 'x' * (2 << 20)
