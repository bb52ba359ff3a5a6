# Texts' dictionary keys that all collide.
# checked: cpu_limit
# bypassed: cpu_limit
# limits: cpu=50
class Same(int):
    def __hash__(self):
        return 1
x = {Same(i): i for i in range(100000)}
