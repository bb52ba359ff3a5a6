"""Receivers of webhooks that mean ill: what each does with a connection, byte by byte."""
import contextlib
import gzip
import pathlib
import socket
import ssl
import struct
import subprocess
import threading

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"


class Hostile:
    """Does `behave(connection, stop)` with each connection, in a thread of its own. `behave` returns when it is done;
    `stop` is set at the end. backlog=None listens and never accepts, with a queue that is full."""

    def __init__(self, behave, context=None, address="127.0.0.1", backlog=128):
        self.behave, self.context, self.stop = behave, context, threading.Event()
        self.connections = 0
        self.listener = socket.create_server((address, 0), backlog=0 if backlog is None else backlog)
        self.port = self.listener.getsockname()[1]
        self.url = f"{'https' if context else 'http'}://{address}:{self.port}/"
        self.queue = []
        if backlog is None:
            for _ in range(4):
                self.queue.append(socket.socket())
                self.queue[-1].setblocking(False)
                self.queue[-1].connect_ex((address, self.port))
        else:
            threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            self.connections += 1
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection):
        with contextlib.suppress(OSError), connection:
            connection.settimeout(30)
            if self.context:
                connection = self.context.wrap_socket(connection, server_side=True)
            self.behave(connection, self.stop)

    def close(self):
        self.stop.set()
        with contextlib.suppress(OSError):
            self.listener.shutdown(socket.SHUT_RDWR)
        for one in [self.listener, *self.queue]:
            one.close()


# ---- what they do. The request is read first, where not said otherwise.

def read_request(connection):
    data = b""
    while b"\r\n\r\n" not in data:
        piece = connection.recv(65536)
        if not piece:
            raise OSError
        data += piece
    head, _, body = data.partition(b"\r\n\r\n")
    size = next(int(line.split(b":")[1]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:"))
    while len(body) < size:
        body += connection.recv(65536)
    return head


def says(*parts, then_closes=True):
    def behave(connection, stop):
        read_request(connection)
        for part in parts:
            connection.sendall(part)
        if not then_closes:
            stop.wait()
    return behave


def repeats(first, part, every_s=0):
    def behave(connection, stop):
        read_request(connection)
        connection.sendall(first)
        while not stop.wait(every_s):
            connection.sendall(part)
    return behave


def says_nothing(connection, stop):
    stop.wait()


def closes_at_once(connection, stop):
    pass


def resets(connection, stop):
    read_request(connection)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def answers_unread(connection, stop):
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
    stop.wait()


def answers_each_with_two(connection, stop):
    """The second would be taken for the answer to the next request on this connection."""
    while True:
        read_request(connection)
        connection.sendall(b"HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\nHTTP/1.1 410 Gone\r\nContent-Length: 0\r\n\r\n")


def drips(text, every_s):
    def behave(connection, stop):
        read_request(connection)
        for i in range(len(text)):
            connection.sendall(text[i:i + 1])
            if stop.wait(every_s):
                return
    return behave


# ---- HTTP/2 (RFC 9113), frame by frame; for contexts with ALPN "h2".

DATA, HEADERS, RST_STREAM, SETTINGS, PING, GOAWAY, CONTINUATION = 0, 1, 3, 4, 6, 7, 9
END_STREAM, END_HEADERS = 1, 4
STATUS_200 = b"\x88"  # indexed in HPACK's static table


def frame(kind, payload=b"", flags=0, stream=0):
    return struct.pack("!I", len(payload))[1:] + struct.pack("!BBI", kind, flags, stream) + payload


def read_frames(file, last):
    """Up to the first frame of the kind `last`."""
    file.read(24)  # the preface
    while True:
        head = file.read(9)
        if len(head) < 9:
            raise OSError
        file.read(int.from_bytes(head[:3], "big"))
        if head[3] == last:
            return


def http2(first, *parts, settings=b"", after=HEADERS):
    """Says `first` when the request's head is there, or its body, then `parts` again and again without reading."""
    def behave(connection, stop):
        connection.sendall(frame(SETTINGS, settings))
        read_frames(connection.makefile("rb"), after)
        connection.sendall(first)
        flood = b"".join(parts) * (65536 // max(1, len(b"".join(parts))) + 1)
        while flood and not stop.wait(0.001):  # others in this process have to have their turn
            connection.sendall(flood)
        stop.wait()
    return behave


def gzip_bomb():
    return gzip.compress(bytes(64 << 20))


# ---- certificates

CONFIG = """[ca]
default_ca = own
[own]
database = {0}/index
new_certs_dir = {0}
rand_serial = yes
default_md = sha256
policy = any
[any]
commonName = supplied
"""


class Authority:
    """Makes contexts of servers with certificates of an authority of its own, which is in `path`."""

    def __init__(self, directory):
        self.directory = pathlib.Path(directory)
        self.path, self.key = self.directory / "authority.pem", self.directory / "key.pem"
        self.config = self.directory / "ca.conf"
        self.config.write_text(CONFIG.format(self.directory))
        (self.directory / "index").touch()
        self._openssl("ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", self.key)
        self._openssl("req", "-x509", "-key", self.key, "-subj", "/CN=Authority", "-days", 2, "-out", self.path)

    @staticmethod
    def _openssl(*arguments):
        subprocess.run(["openssl", *map(str, arguments)], check=True, capture_output=True)

    def context(self, name, end="20991231000000Z", is_ours=True, protocol="http/1.1"):
        """`name` as subjectAltName says it: IP:127.0.0.1. One that is not ours is signed by itself."""
        made = self.directory / f"{len(list(self.directory.iterdir()))}.pem"
        request, extensions = made.with_suffix(".csr"), made.with_suffix(".ext")
        extensions.write_text(f"subjectAltName={name}\n")
        if is_ours:
            self._openssl("req", "-new", "-key", self.key, "-subj", f"/CN={made.stem}", "-out", request)
            self._openssl("ca", "-batch", "-notext", "-config", self.config, "-cert", self.path, "-keyfile", self.key,
                          "-startdate", "20200101000000Z", "-enddate", end, "-in", request, "-extfile", extensions,
                          "-out", made)
        else:
            self._openssl("req", "-x509", "-key", self.key, "-subj", "/CN=self", "-addext", f"subjectAltName={name}",
                          "-days", 2, "-out", made)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(made, self.key)
        context.set_alpn_protocols([protocol])
        return context
