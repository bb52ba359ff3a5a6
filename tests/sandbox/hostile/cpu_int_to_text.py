# The digits of a huge number.
# checked: runtime_error ValueError
# bypassed: runtime_error ValueError
x = 1 << 1000000
result = str(x)
