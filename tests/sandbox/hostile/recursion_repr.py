# A text of what has itself in it, nested deeply.
# checked: runtime_error RecursionError
# bypassed: runtime_error RecursionError
x = []
for _ in range(100000):
    x = [x]
result = repr(x)
