"""Values that are kept over a restart: what comes back, what does not, and what is never given again."""
import random
import re
import signal
import threading
import time

import pytest
import requests
from stack import Serve

MAX = "--cached.snapshot=64MiB"


@pytest.fixture
def kept():
    made = []

    def make(*options):
        made.append(Serve(*options))
        made[0].cache = made[0].tenant(plan="unlimited", scopes=["cache.*"])
        return made[0]
    yield make
    for stack in made:
        stack.stop()


def put(client, key, data="v", **query):
    reply = client.put(f"/v1/cache/pages/{key}", None, data=data, headers={"Content-Type": "text/plain"}, params=query)
    assert reply.status_code == 200, reply.text


def value(client, key):
    reply = client.get(f"/v1/cache/pages/{key}")
    assert reply.status_code in (200, 404), reply.text
    return reply.text if reply.status_code == 200 else None


def invalidate(client, **what):
    reply = client.post("/v1/caches/pages/invalidate", what)
    assert reply.status_code == 200, reply.text


def logged(stack, text):
    return [line for line in stack.serve.output().splitlines() if text in line]


def test_values_their_types_times_and_tags_come_back_after_a_restart(kept):
    stack = kept(MAX)
    put(stack.cache, "a/1", "one", ttl_ms=600000, tags="red")
    put(stack.cache, "a/2", "two", ttl_ms=600000)
    put(stack.cache, "short", "gone", ttl_ms=200)
    before = stack.cache.get("/v1/cache/pages/a/1")
    time.sleep(1.1)  # so that its age shows
    assert stack.restart() == 0
    after = stack.cache.get("/v1/cache/pages/a/1")
    assert after.text == "one" and after.headers["Content-Type"] == before.headers["Content-Type"]
    assert int(after.headers["Age"]) >= 1
    fresh_for = [int(re.search(r"max-age=(\d+)", reply.headers["Cache-Control"]).group(1)) for reply in (before, after)]
    assert abs(fresh_for[1] - fresh_for[0]) <= 2  # since it was written, so it ends when it would have
    assert value(stack.cache, "a/2") == "two" and value(stack.cache, "short") is None
    invalidate(stack.cache, tags=["red"])
    assert value(stack.cache, "a/1") is None and value(stack.cache, "a/2") == "two"


def test_the_time_that_a_process_is_away_is_part_of_an_entrys_life(kept):
    stack = kept(MAX)
    put(stack.cache, "long", "one", ttl_ms=600000)
    put(stack.cache, "short", "gone", ttl_ms=1500)
    assert stack.serve.stop() == 0
    time.sleep(2.1)  # longer than it had; what is timed is wall time
    stack.start()
    after = stack.cache.get("/v1/cache/pages/long")
    assert after.text == "one" and int(after.headers["Age"]) >= 2
    assert value(stack.cache, "short") is None


def test_what_was_changed_after_the_last_snapshot_is_not_given_after_kill_9(kept):
    stack = kept(MAX, "--cached.snapshot_every=1d")
    for i in range(200):
        put(stack.cache, f"same/{i}", "same")
    for key in ("deleted", "expired", "overwritten", "tree/below/it", "tree", "match.html"):
        put(stack.cache, key, "old")
    put(stack.cache, "tagged", "old", tags="blue")
    stack.restart()
    assert value(stack.cache, "deleted") == "old" and value(stack.cache, "tagged") == "old"
    assert stack.cache.delete("/v1/cache/pages/deleted").status_code == 200
    assert stack.cache.post("/v1/caches/pages/expire", {"key": "expired"}).status_code == 200
    put(stack.cache, "overwritten", "new")
    invalidate(stack.cache, tags=["blue"])
    invalidate(stack.cache, prefixes=["tree/"])
    for _ in range(2):  # the second time the same snapshot is read again, with what was noted before
        stack.restart(signal.SIGKILL)
        for key in ("deleted", "expired", "overwritten", "tagged", "tree/below/it", "tree"):
            assert value(stack.cache, key) is None, key
        assert value(stack.cache, "match.html") == "old"
        assert sum(value(stack.cache, f"same/{i}") == "same" for i in range(200)) > 190
    invalidate(stack.cache, patterns=["*.html"])
    stack.restart(signal.SIGKILL)
    assert value(stack.cache, "match.html") is None


def test_snapshots_that_are_written_while_values_change_never_bring_an_old_one_back(kept):
    """Each key's value is a number that only rises. What was acknowledged before a kill is the least that may be
    given after it, unless there is nothing."""
    stack = kept(MAX, "--cached.snapshot_every=100ms")
    draw = random.Random(5)
    seen = 0
    for _ in range(6):
        least = write_until_killed(stack, draw.uniform(0.4, 1.2))
        stack.start()
        for key, number in least.items():
            found = value(stack.cache, key)
            assert found is None or int(found) >= number, f"{key}: {found} after {number}"
            seen += found is not None
    assert seen > 20  # the snapshots are of use, too


def write_until_killed(stack, seconds):
    """Sets and deletes from two threads until the process is gone. Returns what was acknowledged of each key."""
    least = {}

    def write(thread):
        client = stack.client(stack.cache.session.headers["Authorization"].split()[1])
        draw = random.Random(thread)
        number = int(time.time() * 1000)
        while True:
            key = f"k{thread}/{draw.randrange(300)}"
            try:
                number += 1
                if draw.random() < 0.3:
                    client.delete(f"/v1/cache/pages/{key}")
                else:
                    put(client, key, str(number), ttl_ms=600000)
            except requests.RequestException:
                return
            least[key] = number

    threads = [threading.Thread(target=write, args=(i,)) for i in range(2)]
    for thread in threads:
        thread.start()
    time.sleep(seconds)
    stack.serve.stop(signal.SIGKILL)
    for thread in threads:
        thread.join()
    return least


@pytest.mark.parametrize("damage", [lambda b: b[:len(b) // 2], lambda b: b[:200] + bytes([b[200] ^ 1]) + b[201:], lambda b: b""],
                         ids=["cut", "changed", "empty"])
def test_a_damaged_snapshot_is_left_out_with_one_line_in_the_log(kept, damage):
    stack = kept(MAX)
    for i in range(50):
        put(stack.cache, f"k{i}")
    stack.serve.stop()
    file = stack.data / "cached.snapshot"
    file.write_bytes(damage(file.read_bytes()))
    stack.start()
    assert len(logged(stack, "snapshot not read")) == 1
    assert value(stack.cache, "k1") is None
    put(stack.cache, "k1", "new")
    stack.restart()
    assert value(stack.cache, "k1") == "new"


def test_a_snapshot_from_before_a_time_without_snapshots_is_not_used(kept):
    stack = kept(MAX)
    put(stack.cache, "k", "old")
    stack.serve.stop()
    stack.options = ()
    stack.start()
    assert value(stack.cache, "k") is None
    assert not list(stack.data.glob("cached.snapshot*"))
    stack.options = (MAX,)
    stack.restart()
    assert value(stack.cache, "k") is None


def test_the_file_keeps_to_its_size(kept):
    stack = kept("--cached.snapshot=100KiB")
    for i in range(100):
        put(stack.cache, f"k{i}", "x" * 4000)
    stack.restart()
    assert (stack.data / "cached.snapshot").stat().st_size <= 100 * 1024 + 64
    assert 10 < sum(value(stack.cache, f"k{i}") is not None for i in range(100)) < 30
