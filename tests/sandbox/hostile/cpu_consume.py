# Consumes an endless stream in C.
# checked: cpu_limit
# bypassed: cpu_limit
# limits: cpu=50
import collections, itertools
collections.deque(itertools.count(), maxlen=0)
