# Bytes at once.
# checked: memory_limit
# bypassed: memory_limit
# limits: memory=16
x = bytearray(1 << 31)
