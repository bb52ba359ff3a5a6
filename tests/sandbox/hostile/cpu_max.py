# The largest of an endless stream.
# checked: cpu_limit
# bypassed: cpu_limit
# limits: cpu=50
import itertools
max(itertools.repeat(1))
