# Compares what is alike nowhere.
# checked: cpu_limit
# bypassed: cpu_limit
# limits: cpu=50
import difflib
difflib.SequenceMatcher(None, 'ab' * 20000, 'ba' * 20000, False).ratio()
