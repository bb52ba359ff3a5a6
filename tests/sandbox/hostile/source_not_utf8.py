# Code that is no UTF-8.
# checked: invalid_code
# bypassed: invalid_code
x = 'ÿþ'
result = 1
