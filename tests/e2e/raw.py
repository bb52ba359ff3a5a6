"""HTTP/1.1 byte by byte, for tests of what well-behaved clients never send."""
import json
import socket


class Answer:
    def __init__(self, status, headers, body):
        self.status = status
        self.headers = headers  # names in lower case
        self.body = body


class Raw:
    """One connection: raw.send(b"GET / HTTP/1.1\\r\\n..."); raw.answer()."""

    def __init__(self, port, timeout_s=60, receive_buffer=None, wrap=None):
        self.socket = socket.socket()
        if receive_buffer:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.socket.settimeout(timeout_s)
        self.socket.connect(("127.0.0.1", port))
        if wrap:
            self.socket = wrap(self.socket)
        self.file = self.socket.makefile("rb")

    def send(self, data):
        self.socket.sendall(data.encode() if isinstance(data, str) else data)
        return self

    def answer(self, has_body=True):
        """The next response, which has no body if it is one to HEAD; None when the connection was closed instead."""
        try:
            line = self.file.readline()
        except ConnectionResetError:
            return None
        if not line:
            return None
        status = int(line.split()[1])
        headers = {}
        while (line := self.file.readline().decode("latin-1").strip()):
            name, _, value = line.partition(":")
            headers[name.lower()] = value.strip()
        size = int(headers.get("content-length", 0)) if has_body and status not in (100, 204) else 0
        return Answer(status, headers, self.file.read(size))

    def is_closed(self):
        """Waits for the end of the connection; an answer before it is no end."""
        try:
            return self.file.read(1) == b""
        except ConnectionResetError:
            return True

    def close(self):
        self.file.close()
        self.socket.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def assert_problem(answer, status, slug):
    """A problem of RFC 9457 as every one of Corbel's is; returns its members."""
    assert answer.status == status, answer.body
    assert answer.headers["content-type"] == "application/problem+json"
    problem = json.loads(answer.body)
    assert problem["status"] == status
    assert problem["type"] in (f"/docs/problems#{slug}", f"https://iana.org/assignments/http-problem-types#{slug}")
    assert problem["title"]
    assert problem["request_id"] == answer.headers["x-request-id"]
    return problem
