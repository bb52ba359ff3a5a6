# Takes apart a chain of a million objects.
# checked: ok
# bypassed: ok
class Link:
    pass
head = None
for _ in range(200000):
    link = Link()
    link.next, head = head, link
del head, link
result = 1
