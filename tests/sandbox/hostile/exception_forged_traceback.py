# An exception whose traceback is no traceback.
# checked: runtime_error
# bypassed: runtime_error
class Bad(Exception):
    @property
    def __traceback__(self):
        return 1
raise Bad
