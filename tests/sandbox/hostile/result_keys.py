# Keys that are no texts.
# checked: result_not_json
# bypassed: result_not_json
result = {(1, 2): 3, None: 4}
