# Makes a root of its own, the first half of the old way out of one.
# checked: invalid_code
# bypassed: security_violation chroot
import posix
posix.chroot('.')
