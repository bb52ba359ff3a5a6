"""The load of stream_bench.sh: opens streams, publishes, and waits until each has what was published."""
import http.client
import json
import re
import resource
import select
import socket
import statistics
import sys
import time

KIND, PORT, KEY, PID, STREAMS, ROUNDS = (kind(text) for kind, text in zip((str, int, str, int, int, int), sys.argv[1:]))
resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)


def resident_bytes():
    text = open(f"/proc/{PID}/status").read()
    return int(re.search(r"RssAnon:\s+(\d+)", text).group(1)) * 1024


def open_all(head, count):
    opened = []
    for at in range(0, count, 200):
        part = [socket.create_connection(("127.0.0.1", PORT)) for _ in range(min(200, count - at))]
        for each in part:
            each.sendall(head)
        for each in part:
            text = b""
            while b"\r\n\r\n" not in text or (b"id: " not in text and b"stream.position" not in text):
                piece = each.recv(4096)
                assert piece, text
                text += piece
            assert text.split(b" ")[1] in (b"200", b"101"), text
        opened += part
    return opened


class Readers:
    """Waits until each of the sockets has got a text."""

    def __init__(self, sockets):
        self.sockets = {s.fileno(): s for s in sockets}
        self.poll = select.epoll()
        for fd in self.sockets:
            self.poll.register(fd, select.EPOLLIN)

    def wait(self, mark):
        left = set(self.sockets)
        while left:
            for fd, _ in self.poll.poll():
                if mark in self.sockets[fd].recv(65536):
                    left.discard(fd)


def try_publishing(connection, i):
    body = json.dumps({"events": [{"type": "bench.tick", "data": {"mark": f"tick-{i}-", "pad": "x" * 200}}]})
    connection.request("POST", "/v1/events", body, {"Authorization": f"Bearer {KEY}", "Content-Type": "application/json"})
    answer = connection.getresponse()
    answer.read()
    return answer.status == 200


def publish(connection, i):
    assert try_publishing(connection, i)


def bare_pairs(count):
    server = socket.create_server(("127.0.0.1", 0), backlog=1024)
    clients, senders = [], []
    for _ in range(count):
        clients.append(socket.create_connection(server.getsockname()))
        senders.append(server.accept()[0])
    return clients, senders


def measure(kind, head):
    connection = http.client.HTTPConnection("127.0.0.1", PORT)
    while not try_publishing(connection, -1):  # until the ingress has found the log
        time.sleep(0.05)
    before = resident_bytes()
    sockets = open_all(head, STREAMS)
    idle = (resident_bytes() - before) / STREAMS
    readers = Readers(sockets)
    clients, senders = bare_pairs(STREAMS)
    bare_readers = Readers(clients)
    took, bare = [], []
    for i in range(ROUNDS):
        began = time.monotonic()
        publish(connection, i)
        readers.wait(b"tick-%d-" % i)
        took.append(time.monotonic() - began)
        began = time.monotonic()
        for sender in senders:
            sender.send(b"tick-%d-" % i + b"x" * 500)
        bare_readers.wait(b"tick-%d-" % i)
        bare.append(time.monotonic() - began)
    used = (resident_bytes() - before) / STREAMS
    print(f"{kind}: {STREAMS} streams, {idle:.0f} bytes each when opened, {used:.0f} after {ROUNDS} broadcasts; a broadcast takes "
          f"{statistics.median(took) * 1000:.0f} ms (most {max(took) * 1000:.0f}), bare {statistics.median(bare) * 1000:.0f} ms "
          f"(most {max(bare) * 1000:.0f})")
    for each in sockets + clients + senders:
        each.close()


UPGRADE = ("Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
           "Sec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2RlZg==\r\n")
measure(KIND, (f"GET /v1/stream HTTP/1.1\r\nHost: 127.0.0.1\r\nX-API-Key: {KEY}\r\n"
               f"{UPGRADE if KIND == 'websocket' else ''}\r\n").encode())
