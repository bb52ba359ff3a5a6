"""Replays: events of the log sent again, or to an endpoint that was not there."""
import json
import os
import signal
import subprocess
import threading
import time

import pytest
from sink import Sink
from stack import BIN, Processes, Serve, until

SCOPES = ["events.*", "webhooks.*"]


def tenant(stack):
    client = stack.tenant(plan="unlimited", scopes=SCOPES)
    until(lambda: client.get("/v1/events").json().get("last_sequence") == 1, "the key's event is in the log")
    return client


def endpoint(client, sink, **options):
    made = client.post("/v1/webhooks", {"url": sink.url + "/hook", **options})
    assert made.status_code == 201, made.text
    return made.json()["endpoint"]["id"]


def publish(client, count, kind="a.b", start=0):
    for at in range(start, start + count, 100):
        events = [{"id": f"{kind.replace('.', '-')}-{i}", "type": kind, "data": {"i": i}}
                  for i in range(at, min(at + 100, start + count))]
        made = client.post("/v1/events", {"events": events})
        assert made.status_code == 200, made.text


def replay(client, made, status=202, **body):
    answer = client.post(f"/v1/webhooks/{made}/replay", body)
    assert answer.status_code == status, answer.text
    return answer.json()


def finished(client, one):
    return until(lambda: (r := client.get(f"/v1/replays/{one['id']}").json())["state"] == "REPLAYED" and r, "the replay's end")


def test_an_endpoint_made_later_gets_what_happened_before(stack):
    client = tenant(stack)
    publish(client, 30)
    publish(client, 10, "c.d")
    with Sink() as sink:
        made = endpoint(client, sink, filter={"types": ["*.b"]})
        until(lambda: client.get("/v1/events").json().get("last_sequence") == 42, "the endpoint's event is in the log")
        done = finished(client, replay(client, made, after=11))
        assert done["deliveries"] == 20 and done["at_sequence"] == done["last_sequence"] == 42
        sink.wait(lambda h: len(h) == 20, "the events", timeout_s=60)
        assert {h.json["data"]["i"] for h in sink.hooks} == set(range(10, 30))
        done = finished(client, replay(client, made, after=0, type="a.*", up_to=6))
        assert done["deliveries"] == 5
        assert [r["deliveries"] for r in client.get(f"/v1/replays?endpoint_id={made}").json()["replays"]] == [5, 20]


def test_a_range_of_time_is_replayed_and_what_was_delivered_left_out_if_asked(stack):
    client = tenant(stack)
    bad = threading.Event()
    bad.set()
    with Sink(lambda hook: 422 if bad.is_set() and hook.json["data"]["i"] % 2 else 200) as sink:
        made = endpoint(client, sink, retry_ms=[100])
        publish(client, 10)
        until(lambda: len(client.get("/v1/deliveries?state=EXHAUSTED").json().get("deliveries", [])) == 5, "five are given up")
        until(lambda: len(client.get("/v1/deliveries?state=DELIVERED").json().get("deliveries", [])) == 5, "five are not")
        bad.clear()
        since = client.get("/v1/events?after=1&page_size=1").json()["events"][0]["recorded_at"]
        assert finished(client, replay(client, made, since=since, skip_delivered=True))["deliveries"] == 5
        hooks = sink.wait(lambda h: len(h) == 20, "the five", timeout_s=60)
        assert all(h.json["data"]["i"] % 2 for h in hooks[15:])
        until(lambda: len(client.get("/v1/deliveries?state=DELIVERED").json().get("deliveries", [])) == 10, "all are delivered")
        assert finished(client, replay(client, made, since=since, until=since))["deliveries"] == 0
        assert finished(client, replay(client, made, since=since))["deliveries"] == 10
        assert len(sink.wait(lambda h: len(h) == 30, "all again", timeout_s=60)) == 30
        deliveries = client.get("/v1/deliveries?page_size=200").json()["deliveries"]
        assert len(deliveries) == 10  # one for an event and an endpoint, however often it is sent


def test_what_came_while_it_was_disabled_is_replayed(stack):
    client = tenant(stack)
    with Sink() as sink:
        made = endpoint(client, sink)
        client.post(f"/v1/webhooks/{made}/disable")
        publish(client, 5)
        assert replay(client, made, 409, after=1)["code"] == "FAILED_PRECONDITION"
        client.post(f"/v1/webhooks/{made}/enable")
        finished(client, replay(client, made, after=1))
        sink.wait(lambda h: len(h) == 5, "what was skipped", timeout_s=60)


def test_one_event_goes_to_all_that_want_it_or_to_one_that_is_named(stack):
    client = tenant(stack)
    publish(client, 1)
    with Sink() as wants, Sink() as other:
        endpoint(client, wants)
        named = endpoint(client, other, filter={"types": ["x.y"]})
        assert client.post("/v1/events/a-b-0/replay").json() == {"deliveries": 1}
        wants.wait(lambda h: len(h) == 1, "the event", timeout_s=60)
        assert client.post("/v1/events/a-b-0/replay", {"endpoint_id": named}).json() == {"deliveries": 1}
        assert other.wait(lambda h: len(h) == 1, "the event", timeout_s=60)[0].id == "a-b-0"
        assert client.post("/v1/events/none/replay").status_code == 404
        stranger = tenant(stack)
        assert stranger.post("/v1/events/a-b-0/replay").status_code == 404
        publish(stranger, 1)
        assert stranger.post("/v1/events/a-b-0/replay", {"endpoint_id": named}).status_code == 404
        assert stranger.post(f"/v1/webhooks/{named}/replay", {"after": 0}).status_code == 404
        assert len(wants.hooks) == 1


def test_an_idempotency_key_begins_one_replay(stack):
    client = tenant(stack)
    publish(client, 3)
    with Sink() as sink:
        made = endpoint(client, sink)
        header = {"Idempotency-Key": "again"}
        first = client.post(f"/v1/webhooks/{made}/replay", {"after": 1}, headers=header)
        finished(client, first.json())
        again = client.post(f"/v1/webhooks/{made}/replay", {"after": 1}, headers=header)
        assert again.json()["id"] == first.json()["id"]
        sink.wait(lambda h: len(h) == 3, "the events", timeout_s=60)
        assert len(client.get("/v1/replays").json()["replays"]) == 1


def test_a_replay_takes_what_the_endpoint_has_room_for_and_can_be_ended(stack):
    client = tenant(stack)
    publish(client, 700)
    well, live = threading.Event(), threading.Event()

    def answer(hook):
        if hook.json["type"] == "live.now":
            live.set()
        return 200 if well.is_set() or hook.json["type"] == "live.now" else 503
    with Sink(answer) as sink:
        made = endpoint(client, sink, retry_ms=[3600000] * 5)
        one = replay(client, made, after=1)
        until(lambda: client.get(f"/v1/replays/{one['id']}").json().get("deliveries") == 256, "there is no more room")
        assert replay(client, made, 409, after=1)["code"] == "FAILED_PRECONDITION"
        assert client.get(f"/v1/replays/{one['id']}").json()["state"] == "REPLAYING"
        ended = client.post(f"/v1/replays/{one['id']}/cancel").json()
        assert ended["state"] == "REPLAY_CANCELLED" and ended["finished_at"]
        assert client.post(f"/v1/replays/{one['id']}/cancel").json() == ended
        well.set()
        finished(client, replay(client, made, after=ended["at_sequence"]))
        since = client.get("/v1/events?after=1&page_size=1").json()["events"][0]["recorded_at"]
        client.post(f"/v1/webhooks/{made}/recover", {"since": since})
        sink.wait(lambda h: len({x.id for x in h}) == 700, "all in the end", timeout_s=90)


@pytest.mark.parametrize("body, pointer", [({}, "/since"), ({"after": 0, "type": "a..b"}, "/type"), ({"after": -1}, "/after")])
def test_a_replay_needs_a_range(stack, body, pointer):
    client = tenant(stack)
    with Sink() as sink:
        refused = replay(client, endpoint(client, sink), 400, **body)
        assert refused["errors"][0]["pointer"] == pointer


def test_what_happens_now_waits_for_a_few_of_a_replay_only(stack):
    client = tenant(stack)
    publish(client, 2000)

    def answer(hook):
        time.sleep(0.005)  # a receiver that takes its time
        return 200
    with Sink(answer) as sink:
        one = replay(client, endpoint(client, sink), after=1)
        sink.wait(lambda h: len(h) >= 300, "it is under way", timeout_s=60)
        before = len(sink.hooks)
        publish(client, 1, "live.now")
        hooks = sink.wait(lambda h: any(x.json["type"] == "live.now" for x in h), "what happens now", timeout_s=60)
        ahead = [h.json["type"] for h in hooks].index("live.now") - before
        assert ahead <= 256 + 64, ahead  # what waited already, and what arrived while it was published
        finished(client, one)
        sink.wait(lambda h: len({x.id for x in h}) == 2001, "the rest", timeout_s=90)


def test_replays_are_begun_and_followed_on_the_command_line(stack):
    client = tenant(stack)
    publish(client, 3)

    def corbel(*words):
        ran = subprocess.run([str(BIN / "corbel"), *words, "--output", "json"], capture_output=True, text=True, timeout=60,
                             env={"PATH": os.environ["PATH"], "HOME": "/nonexistent", "CORBEL_URL": stack.url,
                                  "CORBEL_API_KEY": client.key})
        assert ran.returncode == 0, ran.stderr
        return json.loads(ran.stdout)
    with Sink() as sink:
        made = endpoint(client, sink)
        one = corbel("webhooks", "replay", made, "--after", "1", "--type", "a.*")
        until(lambda: corbel("replays", "get", one["id"])["state"] == "REPLAYED", "its end")
        assert corbel("replays", "list")["replays"][0]["deliveries"] == 3
        sink.wait(lambda h: len(h) == 3, "the events", timeout_s=60)
        until(lambda: not client.get("/v1/deliveries?state=PENDING").json().get("deliveries"), "nothing waits")
        assert corbel("events", "replay", "a-b-0")["deliveries"] == 1
        sink.wait(lambda h: len(h) == 4, "one of them again", timeout_s=60)


def test_replicas_side_by_side_make_each_delivery_once(own):
    stack = own(Processes, replicas={"webhookd": 3})
    client = tenant(stack)
    publish(client, 1500)
    with Sink() as first, Sink() as second:
        made = [endpoint(client, sink, order_by="/key") for sink in (first, second)]
        for one in [replay(client, m, after=1) for m in made]:
            assert finished(client, one)["deliveries"] == 1500
        for sink in (first, second):
            sink.wait(lambda h: len(h) >= 1500, "all of them", timeout_s=90)
        until(lambda: not client.get("/v1/deliveries?state=PENDING").json().get("deliveries"), "nothing waits")
        assert [len(sink.hooks) for sink in (first, second)] == [1500, 1500]


@pytest.mark.parametrize("make", [Serve, Processes])
def test_kill_9_ends_no_replay(own, make):
    stack = own(make, "--webhookd.lease=2s")
    client = tenant(stack)
    publish(client, 3000)
    with Sink() as sink:
        one = replay(client, endpoint(client, sink), after=1)
        for count in (300, 1200):
            sink.wait(lambda h, c=count: len(h) >= c, "some are there", timeout_s=60)
            if make is Serve:
                stack.restart(signal.SIGKILL)
            else:
                stack.by_name["webhookd", 0].stop(signal.SIGKILL)
                stack.start_daemon("webhookd")
        until(lambda: client.get(f"/v1/replays/{one['id']}").status_code == 200, "it can be asked after")
        assert finished(client, one)["deliveries"] == 3000  # each once: a step is made or is not
        sink.wait(lambda h: len({x.id for x in h}) == 3000, "all of them", timeout_s=120)
