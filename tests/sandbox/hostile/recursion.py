# Calls itself.
# checked: runtime_error RecursionError
# bypassed: runtime_error RecursionError
def f():
    f()
f()
