# Says without end that a system call was refused.
# checked: invalid_code
# bypassed: security_violation
# limits: cpu=2000
import posix
while True:
    posix.write(1, b'\3\0\0\0\4\0\0\0\1\0\0\0' * 300)
