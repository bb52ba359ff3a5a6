# A product of everything.
# checked: memory_limit
# bypassed: memory_limit
# limits: memory=16
import itertools
list(itertools.product(range(100), repeat=6))
