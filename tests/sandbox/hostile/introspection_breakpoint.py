# Calls for the debugger.
# checked: invalid_code
# bypassed: ok
breakpoint()
