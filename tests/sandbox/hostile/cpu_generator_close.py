# A generator that does not end when it is told to.
# checked: cpu_limit
# bypassed: cpu_limit
# limits: cpu=50
def g():
    while True:
        try:
            yield 1
        except GeneratorExit:
            while True:
                pass
x = g()
next(x)
x.close()
