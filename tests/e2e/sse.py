"""A client of server-sent events, as the WHATWG HTML standard has them: what EventSource does, block by block."""
import json

import requests


class Block:
    def __init__(self, id, event, data):
        self.id, self.event, self.data = id, event, data

    def json(self):
        return json.loads(self.data)

    @property
    def sequence(self):
        return self.json()["sequence"]


class Sse:
    """One stream: sse.next() is the next event; sse.last_id what a browser would resume from."""

    def __init__(self, client, path="/v1/stream", timeout_s=60, headers=None, **query):
        self.last_id = None
        self.retry_ms = None
        self.heartbeats = 0
        self.reply = requests.get(client.url + path, params=query, stream=True, timeout=timeout_s,
                                  verify=client.session.verify,
                                  headers={**({"Authorization": f"Bearer {client.key}"} if client.key else {}),
                                           **(headers or {})})
        assert self.reply.status_code == 200, self.reply.text
        assert self.reply.headers["Content-Type"] == "text/event-stream"
        self._lines = self._read()
        self.first_id = self._until_id()

    def _read(self):
        rest = b""
        try:
            for piece in self.reply.iter_content(None if "Transfer-Encoding" in self.reply.headers else 1):
                *lines, rest = (rest + piece).split(b"\n")
                yield from lines
        except requests.exceptions.ChunkedEncodingError:
            raise ConnectionError("the stream was cut off")

    def _block(self):
        """One block; None at the end of the stream."""
        event, data = "message", []
        for line in self._lines:
            if not line:
                return Block(self.last_id, event, "\n".join(data))
            name, _, value = line.decode().partition(":")
            value = value.removeprefix(" ")
            if name == "id":
                self.last_id = value
            elif name == "event":
                event = value
            elif name == "data":
                data.append(value)
            elif name == "retry":
                self.retry_ms = int(value)
            elif not name:
                self.heartbeats += 1
        return None

    def _until_id(self):
        """What the stream says before any event: where it begins."""
        block = self._block()
        assert block and not block.data and self.last_id is not None
        return self.last_id

    def next(self):
        """The next event; None when the stream has ended as it should."""
        while (block := self._block()) and not block.data:
            pass
        return block

    def take(self, count):
        return [self.next() for _ in range(count)]

    def until_heartbeat(self):
        before = self.heartbeats
        while self.heartbeats == before:
            assert not self._block().data

    def close(self):
        self.reply.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()
