# A number with a width of gigabytes.
# checked: memory_limit
# bypassed: memory_limit
# limits: memory=16
result = len('%2000000000d' % 1)
