# Sorts what compares by an endless sum.
# checked: cpu_limit
# bypassed: cpu_limit
# limits: cpu=50
class Slow:
    def __lt__(self, other):
        return sum(range(10 ** 13)) > 0
sorted([Slow(), Slow()])
