# A result that raises when it is looked at.
# checked: runtime_error
# bypassed: runtime_error
class Bad(dict):
    def items(self):
        raise SystemExit
    def __repr__(self):
        raise SystemExit
result = Bad(a=1)
