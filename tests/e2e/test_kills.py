"""webhookd, ingress and PostgreSQL are killed at random moments while events are published to a receiver that also
fails, hangs and resets. Every acknowledged event arrives, none is invented, and none arrives again after it was
answered with 200 unless something was killed between the two.

CORBEL_KILL_EVENTS says how many events (3000; 100000 take some minutes), CORBEL_SEED repeats a run's choices.
"""
import os
import pathlib
import random
import signal
import threading
import time

import requests
from rough import RoughSink
from stack import Processes, until

EVENTS = int(os.environ.get("CORBEL_KILL_EVENTS", 3000))
SECONDS = 12  # that they are published in, if that is possible
KINDS = 8
PUBLISHERS = 4
DELIVERED = "2"
LEASE_S = 2
UNRENEWED_S = 0.7 * LEASE_S  # of a lease are left when it is to be renewed


def is_gone(pid):
    try:
        return pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True


def kill_postgres(stack):
    """When it was killed."""
    pid = stack.postgres.process.popen.pid
    backends = pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    stack.postgres.process.stop(signal.SIGKILL)
    until(lambda: all(is_gone(p) for p in backends), "its processes have noticed")
    killed = time.monotonic()
    stack.postgres.start()
    return killed


def kill_daemon(stack, name, number):
    """When it was killed."""
    stack.by_name[name, number].stop(signal.SIGKILL)
    killed = time.monotonic()
    stack.start_daemon(name, number)
    return killed


class Killer(threading.Thread):
    """Each of them once a round, in an order and at moments that nobody has chosen."""

    def __init__(self, stack, moments):
        super().__init__()
        self.stack, self.moments, self.kills, self.failure = stack, moments, [], None
        self.rounds_over, self.stop = threading.Event(), threading.Event()
        self.victims = [lambda: kill_daemon(stack, "webhookd", 0), lambda: kill_daemon(stack, "webhookd", 1),
                        lambda: kill_daemon(stack, "ingress", 0), lambda: kill_postgres(stack)]

    def run(self):
        try:
            while not self.stop.is_set():
                for kill in self.moments.sample(self.victims, len(self.victims)):
                    time.sleep(self.moments.uniform(0.1, 0.8))
                    begun = time.monotonic()
                    self.kills.append((begun, kill()))
                self.rounds_over.set()
        except BaseException as failure:
            self.failure = failure
            self.rounds_over.set()


class Publisher(threading.Thread):
    """Publishes its share of the events, each batch with the same ids until it is acknowledged."""

    def __init__(self, stack, key, number, moments, start):
        super().__init__()
        self.client, self.number, self.moments, self.start_s = stack.client(key), number, moments, start
        self.acknowledged, self.asked_again, self.odd = [], 0, []

    def run(self):
        done = 0
        while done < EVENTS // PUBLISHERS:
            size = min(self.moments.randint(1, 40), EVENTS // PUBLISHERS - done)
            self.publish([{"id": f"p{self.number}-{done + i}", "type": f"kind.{(done + i) % KINDS}",
                           "data": {"i": done + i}} for i in range(size)])
            done += size
            time.sleep(max(0, self.start_s + SECONDS * done * PUBLISHERS / EVENTS - time.monotonic()))

    def publish(self, events):
        while True:
            try:
                answer = self.client.post("/v1/events", {"events": events})
            except requests.RequestException:
                answer = None
            if answer is not None and answer.status_code == 200:
                self.acknowledged += [e["id"] for e in events]
                return
            if answer is not None and answer.status_code not in (503, 504):
                self.odd.append(answer.text)
            self.asked_again += 1
            time.sleep(0.02)


def logged(client):
    """The whole log, oldest first."""
    page = client.get("/v1/events?after=0&page_size=200").json()
    while page.get("events"):
        yield from page["events"]
        page = client.get(f"/v1/events?page_size=200&page_token={page['next_page_token']}").json()


def deliveries(stack):
    """event, state, attempts; rows of attempts, the last one's number, those that succeeded."""
    return stack.postgres.query(
        "SELECT d.event_id, d.state, d.attempts, COUNT(a.number), COALESCE(MAX(a.number), 0),"
        " COALESCE(SUM(a.succeeded), 0) FROM webhookd.delivery_states d LEFT JOIN webhookd.attempts a"
        " ON a.delivery_id = d.id GROUP BY d.id, d.event_id, d.state, d.attempts")


def repeats(sink, records, kills):
    """How many arrived again after a good answer; those of them that neither a kill explains nor that webhookd has
    recorded each of them, the good answer as one that came too late, nor a time in which processes waited for a processor
    for so long that a lease may have ended meanwhile."""
    recorded = {d[0]: int(d[3]) for d in records}
    count, unexplained = 0, []
    for name, arrivals in sink.arrivals.items():
        for first, second in zip(arrivals, arrivals[1:]):
            if not first.is_good:
                continue
            count += 1
            is_starved = second.starved_s - first.starved_s >= UNRENEWED_S
            if len(arrivals) > recorded[name] and not is_starved and not any(
                    first.at - 0.05 < ended and begun < second.at for begun, ended in kills):
                unexplained.append((name, recorded[name], arrivals))
    return count, unexplained


def publish_all(stack, client, moments):
    start = time.monotonic()
    publishers = [Publisher(stack, client.key, n, random.Random(moments.random()), start) for n in range(PUBLISHERS)]
    killer = Killer(stack, random.Random(moments.random()))
    for thread in [killer, *publishers]:
        thread.start()
    for publisher in publishers:
        publisher.join()
    killer.rounds_over.wait()
    killer.stop.set()
    killer.join()
    assert killer.failure is None, killer.failure
    return publishers, killer.kills


def test_whatever_is_killed_every_acknowledged_event_arrives_and_none_is_invented(own):
    seed = int(os.environ.get("CORBEL_SEED", random.randrange(10**6)))
    print(f"CORBEL_SEED={seed}")
    moments = random.Random(seed)
    stack = own(Processes, f"--webhookd.lease={LEASE_S}s", replicas={"webhookd": 2})
    client = stack.tenant(plan="unlimited", scopes=["events.*", "webhooks.*"])
    until(lambda: client.get("/v1/events").json().get("last_sequence") == 1, "the key's event is in the log")
    with RoughSink(moments, {"slow": 0.1, "bad": 0.03, "hang": 0.002, "reset": 0.02}) as sink:
        for kind in range(KINDS):
            made = client.post("/v1/webhooks", {"url": sink.url, "filter": {"types": [f"kind.{kind}"]}, "timeout_ms": 2000,
                                                "concurrency": 64, "retry_ms": [100] * 20})
            assert made.status_code == 201, made.text
        start = time.monotonic()
        publishers, kills = publish_all(stack, client, moments)
        published = time.monotonic() - start
        acknowledged = {name for p in publishers for name in p.acknowledged}
        assert [p.odd for p in publishers if p.odd] == [] and len(acknowledged) == EVENTS
        until(lambda: sum(d[1] == DELIVERED for d in deliveries(stack)) == EVENTS, "all are delivered", 60 + EVENTS / 200)
        records = deliveries(stack)
        count, unexplained = repeats(sink, records, kills)
        print(f"{EVENTS} events, {len(kills)} kills, {sum(p.asked_again for p in publishers)} publications repeated;"
              f" {sum(map(len, sink.arrivals.values()))} requests, {count} again after a good answer;"
              f" published in {published:.1f} s, delivered in {time.monotonic() - start:.1f} s")
        assert set(sink.arrivals) == acknowledged  # none lost, none invented
        assert unexplained == []
        bodies = {n: (f"kind.{int(n.split('-')[1]) % KINDS}", {"i": int(n.split("-")[1])}) for n in acknowledged}
        assert all((a.body["type"], a.body["data"]) == bodies[n] for n, all_ in sink.arrivals.items() for a in all_)
        log = list(logged(client))
        assert [e["sequence"] for e in log] == list(range(1, len(log) + 1))
        assert sorted(e["id"] for e in log if e["source"] == "api") == sorted(acknowledged)
        assert len(records) == EVENTS
        assert [d for d in records if not d[2] == d[3] == d[4] or d[5] != "1"] == []
