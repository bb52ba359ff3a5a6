# Crashes the interpreter by a code object without end.
# checked: runtime_error | memory_limit
# bypassed: runtime_error | memory_limit
def f():
    pass
u = '_' * 2
code = getattr(f, u + 'code' + u)
setattr(f, u + 'code' + u, code.replace(co_code=bytes([124, 200] * 200), co_stacksize=1))
f()
