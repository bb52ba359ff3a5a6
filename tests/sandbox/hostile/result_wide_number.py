# A number of four thousand digits.
# checked: ok
# bypassed: ok
result = 10 ** 4000
