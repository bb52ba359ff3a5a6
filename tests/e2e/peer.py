"""A peer that is not Corbel: it answers what a test tells it to, and keeps what it was asked."""
import socket
import threading

from stack import PEERS


class Peer:
    """Answers one connection after the other with the given bytes; b"" is closing it without an answer. The last
    answer is repeated."""

    def __init__(self, *answers):
        self.answers = list(answers)
        self.requests = []
        self.listener = socket.create_server((PEERS, 0))
        self.url = f"http://{PEERS}:{self.listener.getsockname()[1]}"
        self.thread = threading.Thread(target=self._serve)
        self.thread.start()

    def _serve(self):
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            with connection:
                self.requests.append(self._read(connection))
                answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
                connection.sendall(answer)

    @staticmethod
    def _read(connection):
        """The head, and as much of a body as it announces."""
        data = b""
        while b"\r\n\r\n" not in data:
            piece = connection.recv(65536)
            if not piece:
                return data.decode()
            data += piece
        head, _, body = data.partition(b"\r\n\r\n")
        size = next((int(line.split(b":")[1]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")), 0)
        while len(body) < size:
            body += connection.recv(65536)
        return (head + b"\r\n\r\n" + body).decode()

    def header(self, name):
        """Its value in each request."""
        return [line.split(": ", 1)[1] for request in self.requests for line in request.split("\r\n")
                if line.lower().startswith(name.lower() + ":")]

    def stop(self):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        self.thread.join()


def answer(status, body, *headers):
    body = body if isinstance(body, bytes) else body.encode()
    head = [f"HTTP/1.1 {status} X".encode(), b"Content-Type: application/json", b"Connection: close",
            b"Content-Length: %d" % len(body), *[h if isinstance(h, bytes) else h.encode() for h in headers]]
    return b"\r\n".join(head) + b"\r\n\r\n" + body
