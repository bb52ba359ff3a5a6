"""Two replicas of webhookd on one PostgreSQL, of which one stands still past its lease and goes on: what it then
writes is refused. What the database holds is the proof: one final record for each delivery, and a row for each
attempt that anybody was told of.
"""
import collections
import concurrent.futures
import itertools
import os
import random
import signal
import threading
import time

import pytest
from rough import RoughSink
from sink import Sink
from stack import Client, Processes, Stopwatch, until

DELIVERED = "2"
GRACE_S = 8  # less than a process waits for what does not end


def pair(own, lease):
    stack = own(Processes, f"--webhookd.lease={lease}", replicas={"webhookd": 2})
    return stack, [stack.by_name["webhookd", n] for n in (0, 1)]


def tenant(stack):
    client = stack.tenant(plan="unlimited", scopes=["events.*", "webhooks.*"])
    until(lambda: client.get("/v1/events").json().get("last_sequence") == 1, "the key's event is in the log")
    return client


def endpoint(client, sink, **options):
    made = client.post("/v1/webhooks", {"url": sink.url, **options})
    assert made.status_code == 201, made.text
    return made.json()["endpoint"]["id"]


def deliveries(stack):
    """Each delivery, with what its attempts were."""
    return stack.postgres.query(
        "SELECT d.id, d.state, d.attempts, d.finished_at, COUNT(a.number), COALESCE(MAX(a.number), 0),"
        " COALESCE(SUM(a.succeeded), 0) FROM webhookd.delivery_states d LEFT JOIN webhookd.attempts a"
        " ON a.delivery_id = d.id GROUP BY d.id, d.state, d.attempts, d.finished_at ORDER BY d.id")


def count(stack, process, name):
    return int(stack.metric(process, name) or 0)


def fenced(stack, process):
    return count(stack, process, "corbel_webhook_fenced_total")


class Hold:
    """A sink's answers that wait: 500 to the first of each event until `first` is set, then 200, one of which waits
    for `last`."""

    def __init__(self):
        self.first, self.last = threading.Event(), threading.Event()
        self.seen = collections.Counter()
        self.lock = threading.Lock()
        self.held_again = None

    def __call__(self, hook):
        with self.lock:
            number = self.seen[hook.id] = self.seen[hook.id] + 1
            if number == 2 and not self.held_again:
                self.held_again = hook.id
        if number == 1 and not self.first.is_set():
            self.first.wait(60)
            return 500
        if hook.id == self.held_again:
            self.last.wait(60)
        return 200


def test_a_replica_that_stood_still_past_its_lease_changes_nothing_by_what_it_then_learns(own):
    stack, replicas = pair(own, "2s")
    client, hold = tenant(stack), Hold()
    with Sink(hold) as sink:
        made = endpoint(client, sink, timeout_ms=60000)
        answer = client.post("/v1/events", {"events": [{"type": "a.b", "data": {"i": i}} for i in range(12)]})
        assert answer.status_code == 200
        until(lambda: len(hold.seen) == 4, "the first window is under way")
        owner = stack.postgres.query(f"SELECT owner FROM webhookd.endpoints WHERE id = '{made}'")[0][0]
        old, new = sorted(replicas, key=lambda p: p.name != owner)
        old.send(signal.SIGSTOP)
        try:
            hold.first.set()  # their answers wait for the one that stands still
            until(lambda: sum(d[1] == DELIVERED for d in deliveries(stack)) == 11, "the other one delivers")
            before = [d for d in deliveries(stack) if d[1] == DELIVERED]
        finally:
            old.send(signal.SIGCONT)
        until(lambda: fenced(stack, old) == 4, "what it learnt is refused")
        assert [d for d in deliveries(stack) if d[1] == DELIVERED] == before
        assert count(stack, old, "corbel_webhook_failed_attempts_total") == 0
        failing = stack.postgres.query(f"SELECT failing_since IS NULL FROM webhookd.endpoints WHERE id = '{made}'")
        assert failing == [["t"]]
        hold.last.set()
        until(lambda: all(d[1] == DELIVERED for d in deliveries(stack)), "the last one arrives")
        assert [d[2:3] + d[4:] for d in deliveries(stack)] == [["1", "1", "1", "1"]] * 12
        assert count(stack, new, "corbel_webhook_delivered_total") == 12 and fenced(stack, new) == 0
        assert sorted(hold.seen.values()) == [1] * 8 + [2] * 4  # twice what was under way, with the same id


def waiting(stack, statement):
    return stack.postgres.query("SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
                                f" AND query LIKE '{statement}%'")


def test_a_replica_that_stands_still_within_its_transaction_has_neither_the_endpoint_nor_the_last_word(own):
    stack, replicas = pair(own, "2s")
    client, seen, first = tenant(stack), [], threading.Event()

    def answer(hook):
        seen.append(hook.id)
        return 200 if len(seen) > 1 or not first.wait(60) else 500

    with Sink(answer) as sink:
        made = endpoint(client, sink, retry_ms=[100] * 20)
        assert client.post("/v1/events", {"events": [{"type": "a.b"}]}).status_code == 200
        until(lambda: seen, "the first attempt")
        with stack.postgres.locked("webhookd.waiting"):
            first.set()
            until(lambda: waiting(stack, "UPDATE waiting"), "it is being recorded")
            owner = stack.postgres.query(f"SELECT owner FROM webhookd.endpoints WHERE id = '{made}'")[0][0]
            old, new = sorted(replicas, key=lambda p: p.name != owner)
            old.send(signal.SIGSTOP)
        try:  # PostgreSQL ends its transaction, and nobody has the endpoint before
            until(lambda: [d[1] for d in deliveries(stack)] == [DELIVERED], "the other one delivers")
        finally:
            old.send(signal.SIGCONT)
        until(lambda: fenced(stack, old) == 1, "what it learnt is refused")
        assert [d[2:3] + d[4:] for d in deliveries(stack)] == [["1", "1", "1", "1"]]
        assert len(seen) == 2 and fenced(stack, new) == 0


def test_an_endpoint_is_switched_while_its_deliveries_fail_and_nothing_waits_for_each_other_for_ever(own):
    stack = own(Processes)
    client, stop, statuses = tenant(stack), threading.Event(), collections.Counter()
    batches = threading.Semaphore(0)  # some a switch: enabling takes as long as skipping what waited does

    def publish():
        mine = stack.client(client.key)
        while batches.acquire() and not stop.is_set():
            statuses[mine.post("/v1/events", {"events": [{"type": "a.b"}] * 20}).status_code] += 1

    with RoughSink(random.Random(1), {"bad": 0.3}) as sink:
        mades = [endpoint(client, sink, concurrency=64, retry_ms=[100] * 20) for _ in range(4)]
        publishers = [threading.Thread(target=publish) for _ in range(2)]
        for thread in publishers:
            thread.start()
        for made in mades * 8:
            for verb in ("disable", "enable"):
                batches.release(10)
                until(lambda: client.post(f"/v1/webhooks/{made}/{verb}").status_code == 200, f"it can {verb}")
                seen = len(sink.arrivals)
                batches.release(10)
                until(lambda: len(sink.arrivals) > seen + 10, "deliveries go on")
        stop.set()
        batches.release(len(publishers))
        for thread in publishers:
            thread.join()
    assert statuses[200] > 0 and set(statuses) <= {200, 503, 504}  # a machine that is starved makes some wait too long
    assert "deadlock" not in stack.postgres.process.output()


def test_a_replica_that_stops_hands_over_at_once_what_it_has_not_sent(own):
    stack, replicas = pair(own, "10m")
    client = tenant(stack)
    with Sink() as sink:
        made = endpoint(client, sink, rate_per_second=4)
        answer = client.post("/v1/events", {"events": [{"type": "a.b", "data": {"i": i}} for i in range(20)]})
        assert answer.status_code == 200
        sink.wait(lambda h: len(h) >= 2, "the first ones")
        owner = stack.postgres.query(f"SELECT owner FROM webhookd.endpoints WHERE id = '{made}'")[0][0]
        first = next(p for p in replicas if p.name == owner)
        watch = Stopwatch()
        assert first.stop() == 0
        assert watch.calm_s() < GRACE_S
        sink.wait(lambda h: len(h) == 20, "the others, by the other one", 60)
        until(lambda: all(d[1] == DELIVERED for d in deliveries(stack)), "all are recorded")


class Publisher(threading.Thread):
    """Publishes without pause, each event until it is acknowledged."""

    def __init__(self, stack, client):
        super().__init__()
        self.client, self.stop, self.ids = stack.client(client.key), threading.Event(), []

    def run(self):
        for number in itertools.count():
            if self.stop.is_set():
                return
            events = [{"id": f"e{number}-{i}", "type": "a.b"} for i in range(5)]
            while self.client.post("/v1/events", {"events": events}).status_code != 200:
                time.sleep(0.01)
            self.ids += [e["id"] for e in events]


def test_replicas_that_stand_still_at_any_moment_leave_one_final_record_of_each_delivery(own):
    stack, replicas = pair(own, "1s")
    client, failed, lock = tenant(stack), set(), threading.Lock()
    seed = int(os.environ.get("CORBEL_SEED", random.randrange(10**6)))
    print(f"CORBEL_SEED={seed}")
    moments = random.Random(seed)

    def answer(hook):  # a fifth of all events fails at first
        with lock:
            is_first = hook.id not in failed
            failed.add(hook.id)
        return 503 if is_first and hash(hook.id) % 5 == 0 else 200

    with Sink(answer) as sink:
        for _ in range(4):
            endpoint(client, sink, retry_ms=[100] * 20)
        publisher = Publisher(stack, client)
        publisher.start()
        for _ in range(6):
            time.sleep(moments.uniform(0.1, 0.6))  # a moment that nobody has chosen
            one = moments.choice(replicas)
            one.send(signal.SIGSTOP)
            time.sleep(1.5)  # longer than the lease
            one.send(signal.SIGCONT)
        publisher.stop.set()
        publisher.join()
        total = 4 * len(publisher.ids)
        until(lambda: sum(d[1] == DELIVERED for d in deliveries(stack)) >= total, "all are delivered")
        odd = [d for d in deliveries(stack) if d[1] != DELIVERED or not d[2] == d[4] == d[5] or d[6] != "1"]
        assert odd == [] and len(deliveries(stack)) == total
        recorded = sum(int(d[4]) for d in deliveries(stack))
        until(lambda: len(sink.hooks) == recorded + sum(fenced(stack, r) for r in replicas),
              f"each of {len(sink.hooks)} requests is recorded ({recorded}) or refused")


def apart(own):
    """Two replicas of webhookd, each called by an ingress of its own; a queue with one message, and for each replica
    its process and a function that calls it."""
    only = {f"ingress{n}": lambda stack, n=n: [f"--bus.webhookd={stack.address('webhookd', n, 'rep')}"] for n in (0, 1)}
    stack = own(Processes, replicas={"webhookd": 2, "ingress": 2}, own=only)
    client = stack.tenant(plan="unlimited", scopes=["events.*", "webhooks.*", "queues.*"])
    until(lambda: client.get("/v1/events").json().get("last_sequence") == 1, "the key's event is in the log")
    made = client.post("/v1/webhooks", {"sink": "QUEUE", "retry_ms": [100] * 5}).json()["endpoint"]["id"]
    assert client.post("/v1/events", {"events": [{"type": "a.b"}]}).status_code == 200

    def caller(number):
        mine = Client(stack.url_of(number), client.key)

        def settle(verb, receipt, **more):
            answer = mine.post(f"/v1/queues/{made}/{verb}", {"receipts": [receipt], **more})
            return answer.json()["results"][0]["outcome"] if answer.status_code == 200 else answer.status_code

        def receive(**query):
            answer = mine.get(f"/v1/queues/{made}/messages", params=query)
            return [m["receipt"] for m in answer.json().get("messages", [])] if answer.status_code == 200 else []
        return stack.by_name["webhookd", number], receive, settle
    return stack, caller(0), caller(1)


SETTLED = [("ack", {}), ("nack", {"delay_ms": 0}), ("extend", {"lease_ms": 600000})]


@pytest.mark.parametrize("verb, more", SETTLED, ids=[verb for verb, _ in SETTLED])
def test_what_a_replica_is_told_of_a_queues_lease_that_ended_while_it_stood_still_changes_nothing(own, verb, more):
    stack, (old, receive_old, settle_old), (_, receive_new, settle_new) = apart(own)
    stale = until(lambda: receive_old(lease_ms=1000), "the first lease")[0]
    with concurrent.futures.ThreadPoolExecutor() as pool:
        old.send(signal.SIGSTOP)
        try:
            said = pool.submit(settle_old, verb, stale, **more)
            held = until(lambda: receive_new(lease_ms=600000, wait_ms=15000), "the next lease")[0]
        finally:
            old.send(signal.SIGCONT)
        assert said.result(60) != "ACCEPTED"
    until(lambda: settle_old(verb, stale, **more) == "STALE", "the one that stood still says so, too")
    assert [d[1:3] + d[4:] for d in deliveries(stack)] == [["1", "2", "1", "1", "0"]]  # one lease, that expired
    assert receive_new() == [] and receive_old() == []
    assert settle_new("ack", held) == "ACCEPTED" and settle_old("ack", held) == "ACCEPTED"
    assert [d[1:3] + d[4:] for d in deliveries(stack)] == [[DELIVERED, "2", "2", "2", "1"]]


def test_a_replica_that_stands_still_within_its_acknowledgement_acknowledges_nothing(own):
    stack, (old, receive_old, settle_old), (_, receive_new, settle_new) = apart(own)
    stale = until(lambda: receive_old(lease_ms=1000), "the first lease")[0]
    with concurrent.futures.ThreadPoolExecutor() as pool:
        with stack.postgres.locked("webhookd.waiting"):
            said = pool.submit(settle_old, "ack", stale)
            until(lambda: waiting(stack, "DELETE FROM waiting"), "it is being acknowledged")
            old.send(signal.SIGSTOP)
        try:  # PostgreSQL ends its transaction, and nobody has the message before
            held = until(lambda: receive_new(lease_ms=600000, wait_ms=15000), "the next lease")[0]
        finally:
            old.send(signal.SIGCONT)
        assert said.result(60) != "ACCEPTED"
    until(lambda: settle_old("ack", stale) == "STALE", "the one that stood still says so, too")
    assert settle_new("ack", held) == "ACCEPTED"
    assert [d[1:3] + d[4:] for d in deliveries(stack)] == [[DELIVERED, "2", "2", "2", "1"]]
