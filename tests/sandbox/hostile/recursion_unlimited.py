# Lifts the bound of recursion and calls itself through C.
# checked: invalid_code
# bypassed: memory_limit | runtime_error
# limits: memory=16
import sys
sys.setrecursionlimit(10 ** 9)
class Deep:
    def __getattr__(self, name):
        return getattr(self, name)
Deep().x
