# A regular expression that backtracks.
# checked: cpu_limit
# bypassed: cpu_limit
# limits: cpu=50
import re
re.match('(a|aa)+$', 'a' * 70 + 'b')
