# Code whose lines are not where they seem.
# checked: runtime_error
# bypassed: runtime_error
x = 1
if 1:
    pass


1 / 0
