"""What a daemon tells a service manager that asks: a socket stands in for systemd's."""
import os
import signal
import socket

import pytest
from stack import Serve, until


class Manager:
    """Hears what is said to the socket that NOTIFY_SOCKET names."""

    def __init__(self, name):
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(name.replace("@", "\0"))
        self.socket.settimeout(60)
        self.env = {"NOTIFY_SOCKET": name}

    def hear(self):
        return self.socket.recv(4096).decode().splitlines()

    def hear_until(self, wanted):
        heard = []
        while wanted not in heard:
            heard += self.hear()
        return heard


@pytest.fixture(params=["path", "abstract"])
def manager(request, tmp_path):
    made = Manager(str(tmp_path / "notify") if request.param == "path" else f"@corbel-notify-{os.getpid()}")
    yield made
    made.socket.close()


def test_a_daemon_says_when_it_is_ready_and_when_it_stops(own, manager):
    stack = own(Serve, env=manager.env)
    assert "READY=1" in manager.hear_until("READY=1")
    assert stack.is_ready()
    stack.serve.send(signal.SIGHUP)
    stack.serve.wait_for("reloading")
    assert stack.serve.stop() == 0
    assert manager.hear_until("STOPPING=1") == ["STOPPING=1"]


def test_a_watchdog_is_fed_for_as_long_as_the_daemon_moves(own, manager):
    stack = own(Serve, env=manager.env | {"WATCHDOG_USEC": "3000000"})
    heard = manager.hear_until("READY=1") + manager.hear_until("WATCHDOG=1")
    assert heard.count("READY=1") == 1
    manager.hear_until("WATCHDOG=1")
    stack.serve.send(signal.SIGSTOP)
    manager.socket.settimeout(4)
    with pytest.raises(TimeoutError):
        while True:
            manager.hear()
    stack.serve.send(signal.SIGCONT)
    manager.socket.settimeout(60)
    manager.hear_until("WATCHDOG=1")


def test_a_watchdog_of_another_process_is_not_fed(own, manager):
    stack = own(Serve, env=manager.env | {"WATCHDOG_USEC": "300000", "WATCHDOG_PID": "1"})
    manager.hear_until("READY=1")
    assert stack.serve.stop() == 0
    assert manager.hear() == ["STOPPING=1"]


@pytest.mark.parametrize("name", ["", "relative", "/nobody/listens", "@", "/" + "long" * 40])
def test_a_socket_that_is_none_does_not_keep_a_daemon_from_its_work(own, name):
    stack = own(Serve, env={"NOTIFY_SOCKET": name, "WATCHDOG_USEC": "x"})
    until(stack.is_ready, "it is ready")
    assert stack.serve.stop() == 0
