# A search that is quadratic, and then some.
# checked: cpu_limit
# bypassed: cpu_limit
# limits: cpu=50
import re
re.search('(.*)*(.*)*(.*)*y', 'x' * 5000)
