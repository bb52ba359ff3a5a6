# An exception with a text of megabytes.
# checked: runtime_error
# bypassed: runtime_error
raise ValueError('x' * (10 << 20))
