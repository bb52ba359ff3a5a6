# Has each line of the rest of the run call its own function.
# checked: invalid_code
# bypassed: ok
import sys
def spy(frame, event, argument):
    frame.f_globals['stolen'] = 1
    return spy
sys.setprofile(spy)
sys.settrace(spy)
result = 1
