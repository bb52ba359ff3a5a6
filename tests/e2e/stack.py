"""Starts what end-to-end tests need, each on free ports in a directory of its own.

Serve is `corbel serve`; Processes is one process a daemon on real PostgreSQL and Redis. Both give an
address, a first admin key, and clients. Nothing outlives stop().

With CORBEL_E2E_URL and CORBEL_E2E_KEY in the environment, tests of a `stack` are of the installation behind that address,
and those that start processes of their own are skipped. It has to reach the peers that tests start, at CORBEL_E2E_PEERS.
"""
import contextlib
import os
import pathlib
import random
import pwd
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time

import pytest
import requests

GIVEN_URL = os.environ.get("CORBEL_E2E_URL")
PEERS = os.environ.get("CORBEL_E2E_PEERS", "127.0.0.1")  # the address that peers listen at
BIN = pathlib.Path(os.environ.get("CORBEL_BIN", pathlib.Path(__file__).parents[2] / "build/bin"))
START_S = 60


def is_sanitized():
    """Whether the programs have a sanitizer, which keeps what was freed and wants to be the first library."""
    program = (BIN / "corbel").read_bytes()
    return b"__asan_init" in program or b"__tsan_init" in program


def free_port():
    """Below the ports that the kernel gives to outgoing connections, of which one could take it meanwhile."""
    while True:
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", random.randint(12000, 32000)))
            except OSError:
                continue
            return probe.getsockname()[1]


def starved_s():
    """How long, since it started, something on this machine has waited for a processor: proc(5), pressure stall information."""
    try:
        some = pathlib.Path("/proc/pressure/cpu").read_text().splitlines()[0]
    except OSError:
        return 0
    return int(some.rpartition("=")[2]) / 1e6


class Stopwatch:
    """The time since it was made: all of it, and that in which nothing on this machine waited for a processor."""

    def __init__(self):
        self.start, self.starved = time.monotonic(), starved_s()

    def passed_s(self):
        return time.monotonic() - self.start

    def calm_s(self):
        """What is promised within a time is promised of a machine that has time for it: this is less than that time."""
        return self.passed_s() - (starved_s() - self.starved)


def until(condition, what, timeout_s=START_S):
    """Waits until condition() is true (its value is returned); fails with `what` at the deadline. Of a short deadline only
    calm time counts, up to START_S."""
    watch = Stopwatch()
    while True:
        value = condition()
        if value:
            return value
        passed = watch.passed_s()
        assert passed < timeout_s or (watch.calm_s() < timeout_s and passed < START_S), f"{what}: not within {timeout_s} s"
        time.sleep(0.02)


def stands_still(pid):
    """Whether each thread of the process has stopped."""
    states = [stat.read_text().rpartition(")")[2].split()[0] for stat in pathlib.Path(f"/proc/{pid}/task").glob("*/stat")]
    return all(state in "TtZX" for state in states)


def halt(pid):
    """Stops the process, of which a thread goes on until it gets a processor to notice."""
    os.kill(pid, signal.SIGSTOP)
    until(lambda: stands_still(pid), f"{pid} stands still")


def needs_own_processes():
    if GIVEN_URL:
        pytest.skip("starts processes of its own")


class Process:
    """A program whose output goes to a file in `directory`."""

    def __init__(self, name, argv, directory, env=None):
        needs_own_processes()
        self.name = name
        self.log = pathlib.Path(directory) / f"{name}.log"
        self._out = open(self.log, "ab")
        self._start = self.log.stat().st_size  # of its output, when another of its name was before it
        clean = {k: v for k, v in os.environ.items() if not k.startswith("CORBEL_")}
        self.popen = subprocess.Popen([str(a) for a in argv], stdout=self._out, stderr=subprocess.STDOUT,
                                      stdin=subprocess.DEVNULL, env={**clean, **(env or {})})

    def output(self):
        return self.log.read_bytes()[self._start:].decode(errors="replace")

    def is_alive(self):
        return self.popen.poll() is None

    def wait_for(self, pattern, timeout_s=START_S):
        """The first match of the pattern in the output."""
        def look():
            found = re.search(pattern, self.output(), re.M)
            assert found or self.is_alive(), f"{self.name} ended with {self.popen.returncode}:\n{self.output()}"
            return found
        return until(look, f"{self.name}: {pattern!r}", timeout_s)

    def send(self, number):
        if number == signal.SIGSTOP:
            halt(self.popen.pid)
        else:
            self.popen.send_signal(number)

    def stop(self, number=signal.SIGTERM, timeout_s=30):
        """Ends it and returns its exit code."""
        if self.is_alive():
            self.popen.send_signal(number)
            self.popen.send_signal(signal.SIGCONT)  # a test that failed may have left it standing still
        try:
            code = self.popen.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self.popen.kill()
            self.popen.wait()
            raise AssertionError(f"{self.name} did not stop within {timeout_s} s:\n{self.output()[-4000:]}")
        finally:
            self._out.close()
        report = re.search(r"^.*(ThreadSanitizer|AddressSanitizer|LeakSanitizer|runtime error):.*", self.output(), re.M)
        assert not report, f"{self.name}:\n{self.output()[report.start():][:6000]}"
        return code


class Client:
    """HTTP with one API key: client.get("/v1/tenants"), client.post("/v1/keys", {...})."""

    def __init__(self, url, key=None):
        self.url = url
        self.key = key
        self.session = requests.Session()
        self.session.trust_env = False
        if key:
            self.session.headers["Authorization"] = f"Bearer {key}"

    def request(self, verb, path, body=None, **kwargs):
        if body is not None:
            kwargs["json"] = body
        return self.session.request(verb, self.url + path, timeout=60, **kwargs)

    def get(self, path, **kwargs):
        return self.request("GET", path, **kwargs)

    def post(self, path, body=None, **kwargs):
        return self.request("POST", path, {} if body is None and "data" not in kwargs else body, **kwargs)

    def put(self, path, body, **kwargs):
        return self.request("PUT", path, body, **kwargs)

    def patch(self, path, body, **kwargs):
        return self.request("PATCH", path, body, **kwargs)

    def delete(self, path, **kwargs):
        return self.request("DELETE", path, **kwargs)


class Stack:
    """What Serve and Processes have in common."""

    SCHEME = "http"

    def __init__(self):
        self.directory = pathlib.Path(tempfile.mkdtemp(prefix="corbel-e2e-"))
        os.chmod(self.directory, 0o755)
        self.processes = []
        self.port = free_port()
        self.url = f"{self.SCHEME}://127.0.0.1:{self.port}"
        self.admin_key = None

    def spawn(self, name, argv, env=None):
        process = Process(name, argv, self.directory, env)
        self.processes.append(process)
        return process

    def client(self, key=None):
        return Client(self.url, key)

    @property
    def operator(self):
        return self.client(self.admin_key)

    def tenant(self, name="Acme", plan=None, scopes=None):
        """A new tenant and a client with a key of its."""
        made = self.operator.post("/v1/tenants", {"name": name, **({"plan": plan} if plan else {})})
        assert made.status_code == 201, made.text
        key = self.operator.post("/v1/keys", {"tenant_id": made.json()["id"], "name": "test",
                                              **({"scopes": scopes} if scopes else {})})
        assert key.status_code == 201, key.text
        client = self.client(key.json()["secret"])
        client.tenant_id = made.json()["id"]
        client.key_id = key.json()["key"]["id"]
        return client

    def is_ready(self):
        try:
            return requests.get(self.url + "/readyz", timeout=5).status_code == 200
        except requests.RequestException:
            return False

    def metric(self, process, line):
        """The value of a line of a process's metrics, such as 'corbel_redis_up'; None when there is none."""
        address = process.wait_for(r"admin port.* address=(\S+)").group(1)
        text = requests.get(f"http://{address}/metrics", timeout=60).text
        found = re.search(rf"^{re.escape(line)} (\S+)", text, re.M)
        return float(found.group(1)) if found else None

    def logs(self, limit=6000):
        parts = []
        for process in self.processes:
            if process.log.exists():
                parts.append(f"---- {process.name} ----\n{process.output()[-limit:]}")
        return "\n".join(parts)

    def stop(self):
        """Stops the youngest first; returns the exit codes by name, and removes the directory."""
        codes = {}
        try:
            for process in reversed(self.processes):
                codes[process.name] = process.stop()
        finally:
            for process in self.processes:
                if process.is_alive():
                    process.popen.kill()
            shutil.rmtree(self.directory, ignore_errors=True)
        return codes


class Given(Stack):
    """An installation that is there."""

    def __init__(self):
        super().__init__()
        self.url = GIVEN_URL
        self.port = int(GIVEN_URL.rsplit(":", 1)[1])
        self.admin_key = os.environ["CORBEL_E2E_KEY"]
        until(self.is_ready, f"{self.url} is ready")


class Serve(Stack):
    """corbel serve: everything in one process, on embedded stores."""

    def __init__(self, *options, directory=None, env=None):
        needs_own_processes()
        super().__init__()
        self.env = env
        self.data = pathlib.Path(directory or self.directory) / "data"
        self.admin_port = free_port()
        self.options = options
        self.start()

    def start(self):
        self.serve = self.spawn(f"serve{len(self.processes)}", [
            BIN / "corbel", "serve", f"--data={self.data}", f"--ingress.listen=127.0.0.1:{self.port}",
            f"--admin.listen=127.0.0.1:{self.admin_port}", "--webhookd.allow=127.0.0.0/8", *self.options], self.env)
        self.serve.wait_for(r"is ready at")
        if not self.admin_key:
            self.admin_key = self.serve.wait_for(r"^first admin key: (\S+)").group(1)
        until(self.is_ready, "corbel serve is ready")

    def restart(self, number=signal.SIGTERM):
        """Stops and starts again on the same data; returns the exit code."""
        code = self.serve.stop(number)
        self.start()
        return code


def postgres_bin():
    found = sorted(pathlib.Path("/usr/lib/postgresql").glob("*/bin"))
    return found[-1] if found else None


class Postgres:
    """A PostgreSQL server of its own. It refuses to run as root, so then it runs as "postgres". Without fsync:
    tests kill processes, not the machine."""

    def __init__(self, stack):
        self.stack = stack
        self.port = free_port()
        self.data = stack.directory / "postgres"
        self.bin = postgres_bin()
        self.data.mkdir()
        self.prefix = []
        if os.geteuid() == 0:
            user = pwd.getpwnam("postgres")
            os.chown(self.data, user.pw_uid, user.pw_gid)
            self.prefix = ["setpriv", f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups"]
        subprocess.run([*self.prefix, self.bin / "initdb", "-D", self.data, "-U", "corbel", "-A", "trust",
                        "-E", "UTF8", "--locale=C", "-N"], check=True, stdout=subprocess.DEVNULL)
        self.start()
        subprocess.run([self.bin / "createdb", "-h", "127.0.0.1", "-p", str(self.port), "-U", "corbel", "corbel"],
                       check=True)
        self.url = f"postgresql://corbel@127.0.0.1:{self.port}/corbel"

    def start(self):
        # SIGINT is the fast shutdown: SIGTERM would wait for clients.
        self.process = self.stack.spawn("postgres", [
            *self.prefix, self.bin / "postgres", "-D", self.data, "-p", self.port, "-h", "127.0.0.1", "-k", "/tmp",
            "-c", "max_connections=200", "-c", "fsync=off"])
        until(lambda: subprocess.run([self.bin / "pg_isready", "-q", "-h", "127.0.0.1", "-p", str(self.port)])
              .returncode == 0, "PostgreSQL accepts connections")

    def query(self, sql):
        """The rows, as lists of texts."""
        ran = subprocess.run([self.bin / "psql", "-h", "127.0.0.1", "-p", str(self.port), "-U", "corbel", "-AtX",
                              "-F", "\t", "-c", sql, "corbel"], check=True, capture_output=True, text=True)
        return [line.split("\t") for line in ran.stdout.splitlines()]

    @contextlib.contextmanager
    def session(self, sql):
        """A session that has been told to run `sql`, and ends with its input."""
        session = subprocess.Popen([self.bin / "psql", "-h", "127.0.0.1", "-p", str(self.port), "-U", "corbel", "-qX",
                                    "corbel"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)
        session.stdin.write(f"{sql};\n")
        session.stdin.flush()
        try:
            yield session
        finally:
            session.stdin.close()
            session.wait()

    @contextlib.contextmanager
    def locked(self, table):
        """Nobody writes to the table meanwhile."""
        with self.session(f"BEGIN; LOCK TABLE {table} IN SHARE MODE"):
            until(lambda: self.query(f"SELECT 1 FROM pg_locks WHERE relation = '{table}'::regclass AND granted"
                                     " AND mode = 'ShareLock'"), f"{table} is locked")
            yield

    def stop(self):
        return self.process.stop(signal.SIGINT)


class Redis:
    def __init__(self, stack):
        self.stack = stack
        self.port = free_port()
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self.start()

    def start(self):
        self.process = self.stack.spawn("redis", [
            "redis-server", "--port", self.port, "--bind", "127.0.0.1", "--save", "", "--appendonly", "no",
            "--dir", self.stack.directory])
        until(self.is_up, "Redis accepts connections")

    def is_up(self):
        try:
            with socket.create_connection(("127.0.0.1", self.port), 1) as conn:
                conn.sendall(b"PING\r\n")
                return conn.recv(64).startswith(b"+PONG")
        except OSError:
            return False

    def stop(self):
        return self.process.stop()


class Processes(Stack):
    """One process a daemon; `replicas` says how many of each: Processes(replicas={"ratelimitd": 4}). `own` gives
    one of them options of its own, made from the stack: own={"ingress1": lambda stack: ["--pub.accountd=…"]}.
    The first ingress has the stack's address; url_of(n) is that of the n-th. `programs` says where those of a daemon are
    that are not this build's; without `postgres` each daemon keeps its own files."""

    DAEMONS = ("accountd", "ratelimitd", "webhookd", "cached", "sandboxd", "ingress")

    def __init__(self, *options, replicas=None, redis=True, own=None, postgres=True, programs=None):
        needs_own_processes()
        super().__init__()
        self.options = options
        self.own = own or {}
        self.programs = programs or {}
        self.ports = {0: self.port}
        self.replicas = {name: 1 for name in self.DAEMONS} | (replicas or {})
        self.postgres = Postgres(self) if postgres else None
        self.redis = Redis(self) if redis else None
        self.by_name = {}
        (self.directory / "run").mkdir()
        for name in self.DAEMONS:
            for number in range(self.replicas[name]):
                self.start_daemon(name, number)
        account = self.by_name["accountd", 0]
        self.admin_key = account.wait_for(r"^first admin key: (\S+)").group(1)
        until(self.is_ready, "the ingress is ready")

    def url_of(self, ingress):
        return f"http://127.0.0.1:{self.ports[ingress]}"

    def address(self, name, number, kind):
        return f"ipc://{self.directory}/run/{name}{number}.{kind}"

    def addresses(self):
        for name in self.DAEMONS:
            if name == "ingress":
                continue  # nobody calls it over the bus
            for option, kind in (("bus", "rep"), ("pub", "pub")):
                urls = ",".join(self.address(name, n, kind) for n in range(self.replicas[name]))
                yield f"--{option}.{name}={urls}"

    def start_daemon(self, name, number=0):
        argv = [self.programs.get(name, BIN) / name, f"--data={self.directory}/data-{name}{number}",
                f"--node={name}{number}", "--admin.listen=127.0.0.1:0",
                f"--bus.listen={self.address(name, number, 'rep')}",
                f"--pub.listen={self.address(name, number, 'pub')}", *self.addresses()]
        if self.postgres:
            argv.append(f"--store.url={self.postgres.url}")
        if self.redis:
            argv.append(f"--redis.url={self.redis.url}")
            # More than the default: on a machine that is busy with tests, Redis may not run for that long.
            if name == "ratelimitd":
                argv.append("--ratelimitd.redis_patience=500ms")
            if name == "cached":
                argv.append("--cached.redis_patience=1s")
            argv.append("--redis.timeout=1s")
        if name == "accountd":
            argv.append(f"--accountd.peppers=1:{'5a' * 32}")
        if name == "webhookd":
            argv += [f"--webhookd.secrets=1:{'a5' * 32}", "--webhookd.allow=127.0.0.0/8"]
        if name == "ingress":
            argv.append(f"--ingress.listen=127.0.0.1:{self.ports.setdefault(number, free_port())}")
        argv += self.own.get(f"{name}{number}", lambda _: [])(self)
        argv += [o for o in self.options if o.startswith(f"--{name}.") or o.split(".")[0][2:] not in self.DAEMONS]
        process = self.spawn(f"{name}{number}", argv)
        process.wait_for(r"^ready$")
        self.by_name[name, number] = process
        return process

    def until_connected(self, name):
        """Waits until the ingress can call every replica of the daemon."""
        line = f'corbel_bus_client_healthy_replicas{{service="{name}"}}'
        until(lambda: self.metric(self.by_name["ingress", 0], line) == self.replicas[name], f"{name} can be called")

    def stop(self):
        codes = {}
        try:
            for (name, number), process in reversed(list(self.by_name.items())):
                codes[f"{name}{number}"] = process.stop()
        finally:
            for store in (self.redis, self.postgres):
                if store and store.process.is_alive():
                    store.stop()
            self.processes = [p for p in self.processes if p.is_alive()]
            super().stop()
        return codes
