# A number from a text of a million digits.
# checked: runtime_error ValueError
# bypassed: runtime_error ValueError
result = int('9' * 1000000)
