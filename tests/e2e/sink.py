"""A receiver of webhooks: a real HTTP server that keeps what it got, and answers as it is told."""
import base64
import hashlib
import hmac
import http.server
import json
import threading
import time

from stack import PEERS


class Hook:
    """One request that arrived."""

    def __init__(self, path, headers, body):
        self.path, self.headers, self.body, self.at = path, headers, body, time.time()
        self.id = headers.get("webhook-id")

    @property
    def json(self):
        return json.loads(self.body)

    def is_signed_with(self, secret):
        """Checks webhook-signature as a receiver does, by the specification of Standard Webhooks."""
        key = base64.b64decode(secret.removeprefix("whsec_"))
        signed = f"{self.id}.{self.headers['webhook-timestamp']}.".encode() + self.body
        wanted = base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
        return f"v1,{wanted}" in self.headers["webhook-signature"].split(" ")


class Sink:
    """with Sink() as sink: sink.url, sink.hooks. `answer(hook)` returns a status, or (status, headers);
    `options(headers)` the headers of the answer to OPTIONS, whose own are kept in sink.asked."""

    def __init__(self, answer=lambda hook: 200, options=lambda headers: [], address=PEERS):
        self.hooks, self.asked, self.answer = [], [], answer
        self.changed = threading.Condition()
        sink = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                hook = Hook(self.path, dict(self.headers.items()), body)
                answer = sink.answer(hook)
                status, headers = answer if isinstance(answer, tuple) else (answer, {})
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", "0")
                self.end_headers()
                with sink.changed:
                    sink.hooks.append(hook)
                    sink.changed.notify_all()

            def do_OPTIONS(self):
                sink.asked.append(dict(self.headers.items()))
                self.send_response(200)
                for name, value in options(sink.asked[-1]):
                    self.send_header(name, value)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *args):
                pass

        class Server(http.server.ThreadingHTTPServer):
            request_queue_size = 256
            daemon_threads = True

        self.server = Server((address, 0), Handler)
        self.url = f"http://{address}:{self.server.server_port}"

    def __enter__(self):
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *exc):
        self.server.shutdown()
        self.server.server_close()

    def wait(self, condition, what, timeout_s=60):
        """Until condition(hooks) holds."""
        with self.changed:
            assert self.changed.wait_for(lambda: condition(self.hooks), timeout_s), \
                f"{what}: not within {timeout_s} s; got {len(self.hooks)} hooks"
        return self.hooks
