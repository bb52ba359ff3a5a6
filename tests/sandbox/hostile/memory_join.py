# A text of many copies.
# checked: memory_limit
# bypassed: memory_limit
# limits: memory=16
result = len(', '.join(['x' * 1000000] * 100000))
