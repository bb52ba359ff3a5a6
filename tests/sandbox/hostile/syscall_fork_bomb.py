# Makes processes that make processes.
# checked: invalid_code
# bypassed: security_violation clone | security_violation
import posix
while True:
    posix.fork()
