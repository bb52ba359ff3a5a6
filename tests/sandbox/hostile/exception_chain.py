# A chain of exceptions that is a circle.
# checked: runtime_error
# bypassed: runtime_error
a = ValueError('a')
b = ValueError('b')
a.with_traceback(None)
try:
    raise a from b
except ValueError:
    raise b from a
