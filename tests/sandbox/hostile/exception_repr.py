# An exception whose text never ends.
# checked: cpu_limit
# bypassed: cpu_limit
# limits: cpu=50
class Bad(Exception):
    def __str__(self):
        while True:
            pass
raise Bad
