# A regular expression that keeps all it might do.
# checked: memory_limit | cpu_limit | runtime_error
# bypassed: memory_limit | cpu_limit | runtime_error
# limits: memory=16 cpu=200
import re
re.match('(?:(x?)*?y?)*z', 'xy' * 2000000)
