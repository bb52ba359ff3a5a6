# Hides code behind a declared encoding.
# checked: ok
# bypassed: ok
# -*- coding: rot13 -*-
result = 1
