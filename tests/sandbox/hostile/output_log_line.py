# Prints a line of many megabytes.
# checked: ok
# bypassed: ok
print('x' * (20 << 20))
result = 1
