# Not a number.
# checked: result_not_json
# bypassed: result_not_json
result = [float('nan'), float('inf')]
