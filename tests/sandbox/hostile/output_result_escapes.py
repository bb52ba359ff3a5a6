# A result that is small until it is JSON.
# checked: output_limit
# bypassed: output_limit
result = '\x01' * (1 << 20)
