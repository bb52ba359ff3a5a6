# Looks for something in an endless count.
# checked: cpu_limit
# bypassed: cpu_limit
# limits: cpu=50
import itertools
-1 in itertools.count()
