# A process that is no function.
# checked: runtime_error
# bypassed: runtime_error
class process:
    def __init__(self, data):
        raise GeneratorExit
