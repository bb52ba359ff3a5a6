# A result that contains itself.
# checked: result_not_json
# bypassed: result_not_json
result = {}
result['self'] = result
