# Maps memory that may be executed.
# checked: invalid_code
# bypassed: runtime_error ModuleNotFoundError
import mmap
mmap.mmap(-1, 4096, prot=mmap.PROT_EXEC | mmap.PROT_WRITE)
