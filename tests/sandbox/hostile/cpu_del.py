# An object that does not want to go.
# checked: cpu_limit
# bypassed: cpu_limit
# limits: cpu=50
class Stay:
    def __del__(self):
        while True:
            pass
Stay()
