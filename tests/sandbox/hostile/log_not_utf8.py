# Prints what is no text.
# checked: ok
# bypassed: ok
print('\ud800', '\x00', '\x1b[2J')
result = 1
