"""Order for each value of a field: kept through failures and crashes, and others pass by."""
import collections
import random
import signal
import threading

import pytest
from sink import Sink
from stack import Processes, Serve, until

SCOPES = ["events.*", "webhooks.*"]


def tenant(stack):
    client = stack.tenant(plan="unlimited", scopes=SCOPES)
    until(lambda: client.get("/v1/events").json().get("last_sequence") == 1, "the key's event is in the log")
    return client


def endpoint(client, sink, **options):
    made = client.post("/v1/webhooks", {"url": sink.url + "/hook", **options})
    assert made.status_code == 201, made.text
    return made.json()["endpoint"]["id"]


def publish(client, events):
    for at in range(0, len(events), 50):
        made = client.post("/v1/events", {"events": events[at:at + 50]})
        assert made.status_code == 200, made.text


class Receiver:
    """Fails each event as often as chance wants, and notes what it took, by key."""

    def __init__(self, failing, seed=1):
        self.failing, self.random, self.lock = failing, random.Random(seed), threading.Lock()
        self.tried, self.taken = collections.defaultdict(list), collections.defaultdict(list)

    def __call__(self, hook):
        data = hook.json["data"]
        with self.lock:
            self.tried[data["key"]].append(data["i"])
            if self.random.random() < self.failing:
                return 500
            self.taken[data["key"]].append(data["i"])
            return 200

    def assert_in_order(self, keys, count):
        for key in keys:
            assert sorted(set(self.taken[key])) == list(range(count)), key
            # A try may be repeated; none comes before all of the one before it.
            assert self.tried[key] == sorted(self.tried[key]), f"{key}: {self.tried[key]}"


def test_each_key_is_in_order_while_a_tenth_fails(stack):
    client = tenant(stack)
    receiver = Receiver(0.1)
    with Sink(receiver) as sink:
        endpoint(client, sink, order_by="/key", retry_ms=[100] * 20, concurrency=32)
        publish(client, [{"type": "a.b", "data": {"key": f"k{k}", "i": i}} for i in range(25) for k in range(12)])
        sink.wait(lambda h: sum(len(set(t)) for t in receiver.taken.values()) == 300, "all of them", timeout_s=90)
        receiver.assert_in_order([f"k{k}" for k in range(12)], 25)


def test_others_pass_by_one_that_fails(stack):
    client = tenant(stack)
    well = threading.Event()
    with Sink(lambda hook: 200 if well.is_set() or hook.json.get("subject") != "bad" else 422) as sink:
        endpoint(client, sink, order_by="subject", retry_ms=[500] * 20)
        publish(client, [{"type": "a.b", "subject": "bad" if i % 2 else f"good{i % 3}", "data": {"i": i}} for i in range(40)])
        publish(client, [{"type": "a.b", "data": {"i": i}} for i in range(40, 50)])  # without a key: in no order
        sink.wait(lambda h: len({x.id for x in h if x.json.get("subject") != "bad"}) == 30, "all others", timeout_s=60)
        assert len({h.id for h in sink.hooks if h.json.get("subject") == "bad"}) == 1
        waiting = client.get("/v1/deliveries?state=PENDING&page_size=200").json()["deliveries"]
        assert len(waiting) >= 20
        well.set()
        sink.wait(lambda h: len({x.id for x in h}) == 50, "the rest", timeout_s=60)
        order = [h.json["data"]["i"] for h in sink.hooks if h.json.get("subject") == "bad"]
        assert order == sorted(order)
        until(lambda: not client.get("/v1/deliveries?state=PENDING").json().get("deliveries"), "nothing waits")


def test_what_is_given_up_lets_the_next_go(stack):
    client = tenant(stack)
    with Sink(lambda hook: 422 if hook.json["data"]["i"] == 0 else 200) as sink:
        made = endpoint(client, sink, order_by="/k", retry_ms=[100])
        publish(client, [{"type": "a.b", "data": {"k": 1, "i": i}} for i in range(3)])
        hooks = sink.wait(lambda h: len(h) == 4, "two tries of the first and one of the others", timeout_s=60)
        assert [h.json["data"]["i"] for h in hooks] == [0, 0, 1, 2]
        # The whole endpoint's order, from now on, and back again.
        assert client.patch(f"/v1/webhooks/{made}", {"ordered": True, "order_by": None}).status_code == 200
        publish(client, [{"type": "a.b", "data": {"k": i, "i": i}} for i in range(10, 20)])
        hooks = sink.wait(lambda h: len(h) == 14, "all", timeout_s=60)
        assert [h.json["data"]["i"] for h in hooks[4:]] == list(range(10, 20))
        refused = client.patch(f"/v1/webhooks/{made}", {"order_by": "k"})
        assert refused.status_code == 400 and refused.json()["errors"][0]["pointer"] == "/order_by"


def test_what_waits_in_order_is_kept_while_disabled_and_recovered_in_order(stack):
    client = tenant(stack)
    well = threading.Event()
    receiver = Receiver(0)
    with Sink(lambda hook: receiver(hook) if well.is_set() else 422) as sink:
        made = endpoint(client, sink, order_by="/key", retry_ms=[60000])
        publish(client, [{"type": "a.b", "data": {"key": "k", "i": i}} for i in range(30)])
        since = client.get("/v1/events?after=1&page_size=1").json()["events"][0]["recorded_at"]
        sink.wait(lambda h: len(h) == 1, "the first try", timeout_s=60)
        assert client.post(f"/v1/webhooks/{made}/disable").status_code == 200
        assert len(client.get("/v1/deliveries?state=SKIPPED&page_size=200").json()["deliveries"]) == 30
        well.set()
        assert client.post(f"/v1/webhooks/{made}/enable").status_code == 200
        assert client.post(f"/v1/webhooks/{made}/recover", {"since": since}).json()["deliveries"] == 30
        sink.wait(lambda h: len(h) == 31, "all", timeout_s=60)
        receiver.assert_in_order(["k"], 30)


@pytest.mark.parametrize("make", [Serve, Processes])
def test_kill_9_keeps_the_order_of_each_key(own, make):
    stack = own(make, "--webhookd.lease=2s")
    client = tenant(stack)
    receiver = Receiver(0.05)
    with Sink(receiver) as sink:
        endpoint(client, sink, order_by="/key", retry_ms=[100] * 20)
        publish(client, [{"type": "a.b", "data": {"key": f"k{k}", "i": i}} for i in range(40) for k in range(10)])
        for count in (60, 150):
            sink.wait(lambda h, c=count: len(h) >= c, "some are there", timeout_s=60)
            if make is Serve:
                stack.restart(signal.SIGKILL)
            else:
                stack.by_name["webhookd", 0].stop(signal.SIGKILL)
                stack.start_daemon("webhookd")
        sink.wait(lambda h: sum(len(set(t)) for t in receiver.taken.values()) == 400, "all of them", timeout_s=120)
        receiver.assert_in_order([f"k{k}" for k in range(10)], 40)
