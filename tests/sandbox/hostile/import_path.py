# Adds a directory to the places of modules.
# checked: invalid_code
# bypassed: runtime_error ModuleNotFoundError
import sys
from importlib.machinery import PathFinder
sys.path.append('/tmp')
sys.meta_path.append(PathFinder)
import anything
