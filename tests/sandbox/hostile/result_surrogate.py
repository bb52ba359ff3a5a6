# A text that is no UTF-8.
# checked: result_not_json
# bypassed: result_not_json
result = {'\udcff': '\ud800'}
