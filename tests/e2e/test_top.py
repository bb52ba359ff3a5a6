"""`corbel top`, on a terminal of its own."""
import fcntl
import http.server
import os
import re
import select
import signal
import struct
import subprocess
import termios
import threading
import time

import pytest

from stack import BIN, Serve, free_port, until

ESCAPES = re.compile(r"\x1b\[[0-9;?]*[a-zA-Z]")


class Terminal:
    """`corbel top` on a pty of the given size."""

    def __init__(self, *words, columns=80, lines=24, env=None):
        self.ours, theirs = os.openpty()
        self.theirs = theirs
        self.resize(columns, lines)
        self.before = termios.tcgetattr(theirs)
        self.seen = ""
        self.process = subprocess.Popen([BIN / "corbel", "top", *words], stdin=theirs, stdout=theirs,
                                        stderr=subprocess.PIPE, env={"PATH": os.environ["PATH"], **(env or {})},
                                        start_new_session=True)

    def resize(self, columns, lines):
        fcntl.ioctl(self.theirs, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))

    def read(self):
        while select.select([self.ours], [], [], 0)[0]:
            self.seen += os.read(self.ours, 65536).decode()
        return self.seen

    def screen(self):
        """The lines of the last whole screen."""
        frames = [f.split("\x1b[J")[0] for f in self.read().split("\x1b[H")[1:] if "\x1b[J" in f]
        return [ESCAPES.sub("", line).rstrip("\r") for line in frames[-1].split("\n")] if frames else []

    def wait_for(self, pattern, timeout_s=15):
        def look():
            assert self.process.poll() is None or re.search(pattern, "\n".join(self.screen())), self.seen[-2000:]
            return re.search(pattern, "\n".join(self.screen()), re.M)
        return until(look, f"{pattern!r} on the screen", timeout_s)

    def press(self, keys):
        os.write(self.ours, keys)

    def end(self, timeout_s=10):
        """Its exit code, once it has given the terminal back."""
        code = self.process.wait(timeout_s)
        assert self.read().rstrip().endswith("\x1b[?25h\x1b[?1049l"), repr(self.seen[-100:])
        assert termios.tcgetattr(self.theirs) == self.before
        return code

    def close(self):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        self.process.stderr.close()
        os.close(self.ours)
        os.close(self.theirs)


@pytest.fixture
def top():
    made = []

    def start(*words, **kwargs):
        made.append(Terminal(*map(str, words), **kwargs))
        return made[-1]
    yield start
    for one in made:
        one.close()


@pytest.fixture
def admin(serve):
    return f"127.0.0.1:{serve.admin_port}"


@pytest.fixture
def traffic(serve):
    """About a hundred requests a second, half of them for what does not exist."""
    done = threading.Event()

    def ask():
        client = serve.client(serve.admin_key)
        while not done.wait(0.02):
            client.get("/v1/plans/free")
            client.get("/v1/keys/key_00000000000000000000000000000000")
    thread = threading.Thread(target=ask)
    thread.start()
    yield
    done.set()
    thread.join()


def once(*words, code=0, env=None):
    ran = subprocess.run([str(BIN / "corbel"), "top", "--once", *map(str, words)], capture_output=True, text=True, timeout=60,
                         env={"PATH": os.environ["PATH"], **(env or {})})
    assert ran.returncode == code, ran.stdout + ran.stderr
    return ran


def test_it_shows_live_requests_in_80_by_24_and_q_quits(top, admin, traffic):
    terminal = top(admin, "--interval", "200ms")
    terminal.wait_for(r"^GET +/v1/plans/\{name\} +[1-9]\S* +\S+ ms +\S+ ms +0 +0$")
    terminal.wait_for(r"^GET +/v1/keys/\{id\} +[1-9]\S* +\S+ ms +\S+ ms +[1-9]\S* +0$")
    terminal.wait_for(r"^accountd +[1-9]\S* +\S+ ms +\S+ ms +0 +\d+ +1$")
    terminal.wait_for(r"^requests +[1-9]\S*/s +p50 \S+ ms +p99 \S+ ms +4xx [1-9]\S*/s +5xx 0/s +\d+ in flight$")
    terminal.wait_for(r"^health +accountd ratelimitd webhookd cached sandboxd ingress pass$")
    screen = terminal.screen()
    assert len(screen) <= 24 and all(len(line) <= 80 for line in screen)
    terminal.press(b"q")
    assert terminal.end() == 0


@pytest.mark.parametrize("keys", [b"Q", b"\x1b", b"\x03"])
def test_other_keys_quit_too_and_the_rest_does_nothing(top, admin, keys):
    terminal = top(admin, "--interval=100ms")
    terminal.wait_for("^requests")
    terminal.press(b"x\r \t")
    terminal.press(b"\x1b[A")  # an arrow begins with Escape and is none
    before = terminal.seen.count("\x1b[J")
    until(lambda: terminal.read().count("\x1b[J") > before + 2, "it goes on", 10)
    terminal.press(keys)
    assert terminal.end() == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_gives_the_terminal_back(top, admin, number):
    terminal = top(admin, "--interval=1h")
    terminal.wait_for("^requests")
    terminal.process.send_signal(number)
    assert terminal.end() == 0


def test_it_follows_the_size_of_the_terminal(top, admin, traffic):
    terminal = top(admin, "--interval=1h", columns=100, lines=40)
    terminal.wait_for("^SERVICE")
    terminal.resize(40, 8)
    terminal.process.send_signal(signal.SIGWINCH)
    until(lambda: len(terminal.screen()) <= 8 and all(len(line) <= 40 for line in terminal.screen()),
          "a smaller screen", 10)
    terminal.press(b"q")
    assert terminal.end() == 0


def test_colours_are_left_out_on_request(top, admin):
    terminal = top(admin, env={"NO_COLOR": "1"})
    terminal.wait_for("^requests")
    terminal.press(b"q")
    terminal.end()
    assert "\x1b[1m" not in terminal.seen and "\x1b[7m" not in terminal.seen


def test_a_process_that_goes_is_named_and_seen_again_when_it_returns(own, top):
    stack = own(Serve)
    terminal = top(f"127.0.0.1:{stack.admin_port}", "--interval=100ms")
    terminal.wait_for("^health +accountd .*pass$")
    stack.serve.stop()
    terminal.wait_for(rf"^health +127.0.0.1:{stack.admin_port} does not answer")
    stack.start()
    terminal.wait_for("^health +accountd .*pass$")
    terminal.press(b"q")
    assert terminal.end() == 0


def test_what_is_no_terminal_gets_plain_text_once(admin, traffic):
    shown = once(admin, "--interval=500ms").stdout
    assert "\x1b" not in shown
    rate = float(re.search(r"^GET +/v1/plans/\{name\} +(\S+)", shown, re.M)[1])
    asked = float(re.search(r"^requests +(\S+)/s", shown, re.M)[1])
    assert 0 < rate <= asked
    piped = subprocess.run([BIN / "corbel", "top", admin, "--interval=100ms"], capture_output=True, text=True, timeout=60)
    assert piped.returncode == 0 and piped.stdout.startswith("corbel top ")


def test_processes_are_summed_up(admin):
    alone, twice = once(admin, "--interval=100ms").stdout, once(admin, admin, "--interval=100ms").stdout

    def files(text):
        return int(re.search(r"of (\d+) files", text)[1])
    assert files(twice) == 2 * files(alone)


def test_what_cannot_be_shown_has_its_exit_code(admin):
    assert "does not answer" in once(f"127.0.0.1:{free_port()}", code=8).stderr
    assert "100ms to 1h" in once("--interval=1ms", code=2).stderr
    assert "100ms to 1h" in once("--interval", code=2).stderr
    assert "--fast" in once("--fast", code=2).stderr
    assert "admin port" in subprocess.run([BIN / "corbel", "top", "--help"], capture_output=True, text=True, timeout=60).stdout


class Hostile(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        name = "\x1b[2J\x07\x9b" + "x" * 5000
        lines = [f'corbel_http_requests_total{{method="GET",route="{name}{i}",status="200"}} {time.monotonic_ns()}'
                 for i in range(2000)]
        body = ("\n".join([*lines, "\x00\xff{", 'a{b="'])).encode("latin-1")
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args):
        pass


def test_what_a_process_says_does_not_command_the_terminal():
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Hostile)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    ran = subprocess.run([BIN / "corbel", "top", "--once", "--interval=100ms", f"127.0.0.1:{server.server_port}"],
                         capture_output=True, timeout=60)
    server.shutdown()
    server.server_close()
    assert ran.returncode == 0
    assert not set(ran.stdout) & {0x00, 0x07, 0x1B, 0x7F}
    assert max(map(len, ran.stdout.split(b"\n"))) < 600
