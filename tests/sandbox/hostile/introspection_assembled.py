# Walks from a tuple to all classes, with names that are put together as it runs.
# checked: security_violation openat
# bypassed: security_violation openat
u = '_' * 2
base = getattr(getattr((), u + 'class' + u), u + 'base' + u)
for kind in getattr(base, u + 'subclasses' + u)():
    if kind.__name__ == 'BuiltinImporter':
        kind.load_module('posix').open('/etc/passwd', 0)
