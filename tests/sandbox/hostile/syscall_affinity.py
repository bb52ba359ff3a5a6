# Binds itself to a processor.
# checked: invalid_code
# bypassed: security_violation sched_setaffinity
import posix
posix.sched_setaffinity(0, {0})
