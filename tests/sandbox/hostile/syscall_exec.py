# Becomes a shell.
# checked: invalid_code
# bypassed: security_violation execve
import posix
posix.execv('/bin/sh', ['sh', '-c', 'id'])
