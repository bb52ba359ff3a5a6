# An integer of gigabytes.
# checked: memory_limit | cpu_limit
# bypassed: memory_limit | cpu_limit
# limits: memory=16
x = 1 << (8 << 32)
