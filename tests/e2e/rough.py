"""A receiver of webhooks at its worst: it keeps every request that arrives, and answers some late, some with 500, some
never, and some by breaking the connection. One thread, thousands of requests a second.
"""
import asyncio
import collections
import json
import threading
import time
import typing

from stack import starved_s

GOOD = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
BAD = b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\n\r\n"

SLOW_S = 0.2


class Arrival(typing.NamedTuple):
    at: float  # time.monotonic()
    starved_s: float  # of the machine, until then
    answer: str  # "good", "slow" (good after SLOW_S), "bad", "hang" or "reset"
    body: dict

    @property
    def is_good(self):
        return self.answer in ("good", "slow")


class RoughSink:
    """with RoughSink(chances) as sink: sink.url, sink.arrivals[id]. `chances`: {"bad": 0.04, "hang": 0.01, …} of each
    answer but "good"; `moments` is a random.Random."""

    def __init__(self, moments, chances):
        self.moments, self.chances = moments, chances
        self.arrivals = collections.defaultdict(list)  # by webhook-id; written by the thread only
        self.connections = set()
        self.loop = asyncio.new_event_loop()
        self.server = self.loop.run_until_complete(
            self.loop.create_server(lambda: _Connection(self), "127.0.0.1", 0, backlog=1024))
        self.url = f"http://127.0.0.1:{self.server.sockets[0].getsockname()[1]}"
        self.thread = threading.Thread(target=self.loop.run_forever)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.loop.call_soon_threadsafe(self._close)
        self.thread.join()
        self.loop.close()

    def _close(self):
        self.server.close()
        for connection in self.connections:
            connection.abort()
        self.loop.call_soon(self.loop.stop)

    def take(self, name, body):
        chance, answer = self.moments.random(), "good"
        for kind, share in self.chances.items():
            if chance < share:
                answer = kind
                break
            chance -= share
        self.arrivals[name].append(Arrival(time.monotonic(), starved_s(), answer, json.loads(body)))
        return answer


class _Connection(asyncio.Protocol):
    def __init__(self, sink):
        self.sink, self.data = sink, b""

    def connection_made(self, transport):
        self.transport = transport
        self.sink.connections.add(transport)

    def connection_lost(self, _):
        self.sink.connections.discard(self.transport)

    def data_received(self, data):
        self.data += data
        while (end := self.data.find(b"\r\n\r\n")) >= 0:
            head = {line.partition(b":")[0].lower(): line.partition(b":")[2].strip()
                    for line in self.data[:end].split(b"\r\n")[1:]}
            size = end + 4 + int(head[b"content-length"])
            if len(self.data) < size:
                return
            body, self.data = self.data[end + 4:size], self.data[size:]
            answer = self.sink.take(head[b"webhook-id"].decode(), body)
            if answer == "reset":
                self.transport.abort()
            elif answer == "slow":
                self.sink.loop.call_later(SLOW_S, self.transport.write, GOOD)
            elif answer != "hang":
                self.transport.write(GOOD if answer == "good" else BAD)
