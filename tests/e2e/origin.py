"""What a namespace of the cache can fetch from."""
import http.server
import threading
import time


class Server(http.server.ThreadingHTTPServer):
    request_queue_size = 128


class Origin:
    """An HTTP server whose pages a test may change; it counts what it was asked."""

    def __init__(self):
        self.asked, self.headers, self.status, self.body, self.delay = [], [], 200, b"page", 0
        self.coding, self.type = None, "text/html"
        self.lock = threading.Lock()
        origin = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                with origin.lock:
                    origin.asked.append(self.path)
                    origin.headers.append(dict(self.headers))
                time.sleep(origin.delay)
                self.send_response(origin.status)
                self.send_header("Content-Type", origin.type)
                if origin.coding:
                    self.send_header("Content-Encoding", origin.coding)
                self.send_header("Content-Length", str(len(origin.body)))
                self.end_headers()
                self.wfile.write(origin.body)

            def log_message(self, *_):
                pass
        self.server = Server(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        self.thread = threading.Thread(target=self.server.serve_forever, daemon=True)
        self.thread.start()

    def stop(self):
        self.server.shutdown()
        self.server.server_close()
