# A result of a hundred levels.
# checked: result_not_json
# bypassed: result_not_json
result = 1
for _ in range(100):
    result = [result]
