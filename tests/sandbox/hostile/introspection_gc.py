# Finds the interpreter's objects by the collector.
# checked: invalid_code
# bypassed: security_violation openat
import gc
for thing in gc.get_objects():
    if isinstance(thing, dict) and 'real_import' in thing:
        thing['real_import']('posix').open('/etc/passwd', 0)
open('/etc/passwd')
