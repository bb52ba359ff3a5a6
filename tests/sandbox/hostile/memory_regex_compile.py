# A regular expression of a million parts.
# checked: memory_limit | cpu_limit | runtime_error
# bypassed: memory_limit | cpu_limit | runtime_error
# limits: memory=16 cpu=200
import re
re.compile('(' * 90 + ')' * 90 + 'a{1,1000}' * 100000)
