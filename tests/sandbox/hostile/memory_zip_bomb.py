# Unpacks a bomb.
# checked: memory_limit
# bypassed: memory_limit
# limits: memory=16
import zlib
small = zlib.compress(zlib.compress(bytes(1 << 23)) * 1)
out = []
while True:
    out.append(zlib.decompress(zlib.decompress(small)))
