# Leaves an object for the end.
# checked: ok
# bypassed: ok
class Bomb:
    def __del__(self):
        while True:
            pass
kept = Bobm = Bomb()
result = 1
