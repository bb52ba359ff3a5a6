# Runs out of stack inside the regular expressions' compiler.
# checked: runtime_error
# bypassed: runtime_error
import re
re.compile('(?:' * 5000 + ')' * 5000)
