"""A cable between two processes that a test can make go silent."""
import selectors
import socket
import threading


class Wire:
    """Forwards a Unix socket to another. hold() passes nothing on, and closes nothing."""

    def __init__(self, path, target):
        self.path, self.target = str(path), str(target)
        self.is_held = threading.Event()
        self.is_stopped = threading.Event()
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(self.path)
        self.listener.listen()
        self.selector = selectors.DefaultSelector()
        self.selector.register(self.listener, selectors.EVENT_READ)
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def hold(self):
        self.is_held.set()

    def _accept(self):
        here, there = self.listener.accept()[0], socket.socket(socket.AF_UNIX)
        try:
            there.connect(self.target)
        except OSError:
            here.close()
            return
        self.selector.register(here, selectors.EVENT_READ, there)
        self.selector.register(there, selectors.EVENT_READ, here)

    def _pass(self, source, sink):
        try:
            data = source.recv(65536)
            if data:
                if not self.is_held.is_set():
                    sink.sendall(data)
                return
        except OSError:
            pass
        for end in (source, sink):
            self.selector.unregister(end)
            end.close()

    def _run(self):
        while not self.is_stopped.is_set():
            for key, _ in self.selector.select(0.1):
                if key.fileobj is self.listener:
                    self._accept()
                elif key.fileobj.fileno() >= 0:
                    self._pass(key.fileobj, key.data)

    def stop(self):
        self.is_stopped.set()
        self.thread.join()
        for key in list(self.selector.get_map().values()):
            key.fileobj.close()
        self.selector.close()
