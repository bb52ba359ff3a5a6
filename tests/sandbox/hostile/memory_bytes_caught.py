# Catches the end of memory and goes on, again and again.
# checked: memory_limit | cpu_limit
# bypassed: memory_limit | cpu_limit
# limits: memory=16 cpu=150
kept = []
while True:
    try:
        kept.append(bytearray(1 << 20))
    except MemoryError:
        kept.append(None)
