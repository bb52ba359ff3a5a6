# Runs bytecode of its own making.
# checked: invalid_code
# bypassed: runtime_error crashed | runtime_error | security_violation openat | security_violation tgkill
def f():
    pass
f.__code__ = f.__code__.replace(co_code=bytes([100, 255] * 200 + [83, 0]), co_consts=())
f()
