# A result whose text is an attack.
# checked: result_not_json
# bypassed: result_not_json
class Bad:
    def __repr__(self):
        while True:
            pass
result = Bad()
