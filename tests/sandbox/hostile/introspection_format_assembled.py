# Reads attributes by a format string that is put together: it reads names, and calls nothing.
# checked: ok
# bypassed: ok
import json
result = ('{0._' + '_globals_' + '_[codecs].sys.modules}').format(json.loads)[:100]
