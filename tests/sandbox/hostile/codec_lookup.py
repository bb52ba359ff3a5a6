# Has a codec looked up that is not there.
# checked: runtime_error LookupError
# bypassed: runtime_error LookupError
'x'.encode('os.path')
