# Takes the frame of a coroutine.
# checked: invalid_code
# bypassed: security_violation openat
async def wait():
    pass
wait().cr_frame.f_builtins['open']('/etc/passwd')
