# Leaves a function for the end.
# checked: invalid_code
# bypassed: ok
import atexit
def bomb():
    while True:
        print('late')
atexit.register(bomb)
result = 1
