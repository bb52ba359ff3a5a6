# A text with NUL in it.
# checked: result_not_json
# bypassed: result_not_json
result = 'a\0b'
