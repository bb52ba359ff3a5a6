# Sets of sets.
# checked: memory_limit
# bypassed: memory_limit
# limits: memory=16
x = frozenset()
kept = []
while True:
    x = frozenset([x])
    kept.append(x)
