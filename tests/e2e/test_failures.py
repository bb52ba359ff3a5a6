"""What is killed, frozen or full: nothing acknowledged is lost, every call ends, and it heals by itself.

Traffic (traffic.py) goes on throughout; the moments are random. An answer may be 409 for a caller who asks again
for what a killed attempt had begun, before its lease ends.
"""
import contextlib
import os
import pathlib
import random
import resource
import signal
import subprocess
import threading
import time

import pytest
import requests
from stack import Processes, Serve, Stopwatch, halt, until
from traffic import CHECK, Traffic

BACK_S = 2  # traffic is back so soon after what was away


def some_time():
    """Until a moment that no one has chosen."""
    time.sleep(random.uniform(0.05, 0.4))


@pytest.fixture(scope="module")
def cluster(processes):
    return processes


def kill(process):
    process.send(signal.SIGKILL)
    process.popen.wait()


@contextlib.contextmanager
def frozen(*pids):
    for pid in pids:
        halt(pid)
    try:
        yield
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)


def family(pid):
    """The process and its children."""
    children = pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [pid, *map(int, children)]


@pytest.mark.parametrize("name", Processes.DAEMONS)
def test_a_killed_daemon_loses_nothing_that_was_acknowledged(cluster, name):
    with Traffic(cluster) as traffic:
        for _ in range(3):
            some_time()
            kill(cluster.by_name[name, 0])
            some_time()
            cluster.start_daemon(name)
            assert traffic.until_good() < BACK_S
    assert traffic.odd(503, 409, *[0] * (name == "ingress"), within_s=3) == []
    assert traffic.lost() == []


def test_a_killed_serve_loses_nothing_that_was_acknowledged(own):
    stack = own(Serve)
    with Traffic(stack) as traffic:
        for _ in range(3):
            some_time()
            stack.restart(signal.SIGKILL)
            assert traffic.until_good() < BACK_S
    assert traffic.odd(0, 409, 503, within_s=3) == []
    assert traffic.lost() == []


def test_a_call_that_was_killed_in_the_middle_can_be_asked_for_again_as_soon_as_its_daemon_is_back(cluster):
    tenant, asked = cluster.tenant(plan="unlimited", scopes=["*"]), []
    once, body = {"Idempotency-Key": "once"}, {"name": "a key"}

    def ask():
        with contextlib.suppress(requests.RequestException):
            asked.append(cluster.client(tenant.key).post("/v1/keys", body, headers=once).status_code)
    first = threading.Thread(target=ask)
    with cluster.postgres.locked("accountd.api_keys"):
        first.start()
        until(lambda: cluster.postgres.query("SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
                                             " AND query LIKE 'INSERT INTO api_keys%'"), "it is in the middle")
        kill(cluster.by_name["accountd", 0])
    cluster.start_daemon("accountd")
    watch = Stopwatch()
    until(lambda: ask() or asked[-1] == 201, "it is done")
    assert 409 not in asked and watch.calm_s() < 8  # its lease would be longer
    first.join()
    assert [k["name"] for k in tenant.get("/v1/keys").json()["keys"]].count("a key") == 1


def calls_counted(stack, tenant):
    page = stack.operator.get(f"/v1/usage?tenant_id={tenant.tenant_id}")
    return sum(day["calls"] for day in page.json().get("usage", [])) if page.status_code == 200 else None


def test_calls_are_counted_once_though_accountd_is_killed_while_they_are_reported(cluster):
    tenant, answers, stop = cluster.tenant(plan="unlimited", scopes=["*"]), [], threading.Event()

    def look():
        return tenant.post("/v1/ratelimits/peek", {"checks": [{"limit": "charts", "key": "k"}]}).status_code

    def call():
        while not stop.is_set():
            answers.append(look())
    assert look() == 200
    caller = threading.Thread(target=call)
    caller.start()
    for _ in range(3):
        some_time()
        kill(cluster.by_name["accountd", 0])
        cluster.start_daemon("accountd")
    stop.set()
    caller.join()
    assert set(answers) == {200}
    for made in (len(answers) + 1, len(answers) + 2):  # a report that was counted twice would show after the next
        until(lambda: calls_counted(cluster, tenant) == made, f"{made} calls are counted", 10)
        look()


def test_a_database_that_goes_away_stops_only_what_needs_it(cluster):
    with Traffic(cluster) as traffic:
        some_time()
        cluster.postgres.stop()
        gone = time.monotonic()
        refused = cluster.operator.post("/v1/plans", {"name": "never", "limits": []})
        assert refused.status_code == 503 and int(refused.headers["Retry-After"]) >= 1
        until(lambda: len(traffic.since(gone)) > 100, "calls go on", 10)
        checks = [a for a in traffic.since(gone) if a.kind == CHECK]
        cluster.postgres.start()
        assert traffic.until_good() < BACK_S
    assert checks and all(a.is_good for a in checks)
    assert traffic.odd(409, 503, within_s=6) == []
    assert traffic.lost() == []


def test_a_database_that_hangs_delays_only_what_needs_it(cluster):
    with Traffic(cluster, each=2) as traffic:
        some_time()
        with frozen(*family(cluster.postgres.process.popen.pid)):
            hung = time.monotonic()
            me = cluster.client(traffic.tenant.key)
            for _ in range(100):
                watch = Stopwatch()
                answer = me.post("/v1/ratelimits/check", {"checks": [{"limit": "hot", "key": "k"}]})
                assert answer.status_code == 200 and watch.calm_s() < 1
            until(lambda: time.monotonic() - hung > 2, "the database hangs for a while", 5)
        assert traffic.until_good() < BACK_S
    assert traffic.odd(409, 503, 504) == []
    assert traffic.lost() == []


@pytest.mark.parametrize("how", ["killed", "frozen"])
def test_a_redis_that_is_gone_leaves_every_call_an_answer(cluster, how):
    def is_shared():
        state = me.post("/v1/ratelimits/check", {"checks": [{"limit": "hot", "key": "k"}]}).json()["limits"][0]
        return not state.get("degraded")
    with Traffic(cluster) as traffic:
        me = cluster.client(traffic.tenant.key)
        some_time()
        gone = time.monotonic()
        with contextlib.ExitStack() as stack:
            if how == "killed":
                kill(cluster.redis.process)
                stack.callback(cluster.redis.start)
            else:
                stack.enter_context(frozen(cluster.redis.process.popen.pid))
            until(lambda: not is_shared(), "checks are decided without Redis", 2)
            until(lambda: len(traffic.since(gone)) > 200, "calls go on", 10)
        until(is_shared, "Redis decides again", 1.5)
    assert traffic.odd(within_s=1) == []
    assert traffic.lost() == []


@contextlib.contextmanager
def limited_files(stack):
    """No file of the process may grow beyond 64 KiB, which its logs of writes soon have. SQLite can still open its
    index of them, of 32 KiB."""
    unlimited = resource.prlimit(stack.serve.popen.pid, resource.RLIMIT_FSIZE)
    resource.prlimit(stack.serve.popen.pid, resource.RLIMIT_FSIZE, (65536, unlimited[1]))
    try:
        yield
    finally:
        resource.prlimit(stack.serve.popen.pid, resource.RLIMIT_FSIZE, unlimited)


@contextlib.contextmanager
def filled_disk(stack):
    """What is left of the disk is taken by a file."""
    filler = stack.data / "filler"
    with open(filler, "wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(bytes(4096))
    try:
        yield
    finally:
        filler.unlink()


@pytest.fixture
def small_disk(tmp_path):
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "corbel-test", tmp_path], capture_output=True)
    if mounted.returncode != 0:
        pytest.skip("may not mount a small disk")
    yield tmp_path
    subprocess.run(["umount", "-l", tmp_path], check=True)


def a_full_disk_refuses_only_what_is_written(stack, full):
    with Traffic(stack) as traffic:
        with full(stack):
            until(lambda: stack.operator.post("/v1/tenants", {"name": "one more"}).status_code == 503,
                  "a write is refused", 10)
            start = time.monotonic()
            until(lambda: len(traffic.since(start)) > 200, "calls go on", 10)
            assert all(a.is_good for a in traffic.since(start) if a.kind == CHECK)
            assert stack.operator.get("/v1/plans").status_code == 200
        assert traffic.until_good() < BACK_S
    assert traffic.odd(409, 503, within_s=6) == []
    assert traffic.lost() == []
    assert stack.restart() == 0
    assert traffic.lost() == []


def test_files_that_may_not_grow_refuse_only_what_is_written(own):
    a_full_disk_refuses_only_what_is_written(own(Serve), limited_files)


def test_a_full_disk_refuses_only_what_is_written(own, small_disk):
    a_full_disk_refuses_only_what_is_written(own(Serve, directory=small_disk), filled_disk)
