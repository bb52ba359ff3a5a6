"""Webhooks over HTTP: what arrives, signed, how often, and in which order."""
import concurrent.futures
import re
import signal
import threading
import time

import pytest
import requests
from sink import Sink
from stack import Processes, Serve, until

SCOPES = ["events.*", "webhooks.*"]


def tenant(stack):
    """A tenant whose log holds one event, of its key, which no endpoint gets that is made after it."""
    client = stack.tenant(plan="unlimited", scopes=SCOPES)
    until(lambda: client.get("/v1/events").json().get("last_sequence") == 1, "the key's event is in the log")
    return client


def endpoint(client, sink, **options):
    made = client.post("/v1/webhooks", {"url": sink.url + "/hook", **options})
    assert made.status_code == 201, made.text
    return made.json()["endpoint"]["id"], made.json()["secret"]


def publish(client, *events):
    made = client.post("/v1/events", {"events": list(events)})
    assert made.status_code == 200, made.text
    return [e["id"] for e in made.json()["events"]]


def states(client, **query):
    """["UNKNOWN"] while they cannot be told."""
    listed = client.get("/v1/deliveries", params={"page_size": 200, **query})
    return [d["state"] for d in listed.json().get("deliveries", [])] if listed.status_code == 200 else ["UNKNOWN"]


def test_events_arrive_signed_at_the_endpoints_that_want_them(stack):
    client = tenant(stack)
    with Sink() as files, Sink() as large, Sink() as all_of_it:
        _, secret = endpoint(client, files, filter={"types": ["doc.*"]}, headers={"X-Team": "blue"})
        endpoint(client, large, filter={"conditions": [{"pointer": "/size", "operator": "GREATER", "value": 10}]})
        endpoint(client, all_of_it)
        ids = publish(client, {"type": "doc.uploaded", "subject": "f1", "data": {"size": 5}},
                      {"type": "person.created", "data": {"size": 50}})
        hook = files.wait(lambda h: len(h) == 1, "the file's event")[0]
        assert hook.id == ids[0] and hook.json["type"] == "doc.uploaded" and hook.json["data"] == {"size": 5}
        assert hook.headers["X-Team"] == "blue" and hook.headers["Content-Type"] == "application/json"
        assert hook.is_signed_with(secret)
        assert [h.id for h in large.wait(lambda h: len(h) == 1, "the large one")] == [ids[1]]
        assert {h.id for h in all_of_it.wait(lambda h: len(h) == 2, "both")} == set(ids)
        until(lambda: states(client) == ["DELIVERED"] * 4, "all are recorded")
        assert len(files.hooks) == 1


def test_a_failure_is_tried_again_on_the_schedule_with_the_same_id(stack):
    client = tenant(stack)
    answers = iter([500, (429, {"Retry-After": "1"}), 200])
    with Sink(lambda hook: next(answers)) as sink:
        _, secret = endpoint(client, sink, retry_ms=[200, 300])
        publish(client, {"type": "a.b"})
        hooks = sink.wait(lambda h: len(h) == 3, "three tries")
        assert len({h.id for h in hooks}) == 1 and all(h.is_signed_with(secret) for h in hooks)
        assert hooks[1].at - hooks[0].at >= 0.2 and hooks[2].at - hooks[1].at >= 1.0  # never early
        until(lambda: states(client) == ["DELIVERED"], "the delivery is recorded")
        one = client.get("/v1/deliveries/" + client.get("/v1/deliveries").json()["deliveries"][0]["id"]).json()
        assert [t.get("status") for t in one["tries"]] == [500, 429, 200]
        assert [t["number"] for t in one["tries"]] == [1, 2, 3] and one["tries"][0]["error"] == "status"


def test_what_is_given_up_can_be_sent_again(stack):
    client = tenant(stack)
    good = threading.Event()
    with Sink(lambda hook: 200 if good.is_set() else 503) as sink:
        made, _ = endpoint(client, sink, retry_ms=[100])
        publish(client, {"type": "a.b"}, {"type": "a.c"})
        until(lambda: states(client, state="EXHAUSTED") == ["EXHAUSTED"] * 2, "both are given up")
        good.set()
        dead = client.get("/v1/deliveries?state=EXHAUSTED").json()["deliveries"]
        assert client.post(f"/v1/deliveries/{dead[0]['id']}/resend").status_code == 200
        until(lambda: sorted(states(client)) == ["DELIVERED", "EXHAUSTED"], "one is delivered")
        since = dead[1]["created_at"]
        assert client.post(f"/v1/webhooks/{made}/recover", {"since": since}).json() == {"deliveries": 1}
        until(lambda: states(client) == ["DELIVERED"] * 2, "both are delivered")


def test_410_disables_and_what_comes_meanwhile_is_kept(stack):
    client = tenant(stack)
    gone = threading.Event()
    gone.set()
    with Sink(lambda hook: 410 if gone.is_set() else 200) as sink:
        made, _ = endpoint(client, sink)
        publish(client, {"type": "a.b"})
        until(lambda: client.get(f"/v1/webhooks/{made}").json().get("disabled_reason") == "GONE", "it is disabled")
        ids = publish(client, {"type": "a.c"})
        assert states(client, event_id=ids[0]) == ["SKIPPED"]
        gone.clear()
        since = client.get("/v1/deliveries").json()["deliveries"][-1]["created_at"]
        assert client.post(f"/v1/webhooks/{made}/recover", {"since": since}).status_code == 409
        assert client.post(f"/v1/webhooks/{made}/enable").json()["disabled"] is False
        client.post(f"/v1/webhooks/{made}/recover", {"since": since})
        until(lambda: states(client) == ["DELIVERED"] * 2, "both arrive")


def test_both_secrets_sign_during_a_rotation(stack):
    client = tenant(stack)
    with Sink() as sink:
        made, old = endpoint(client, sink, signing="HMAC_AND_ED25519", hub_signature=True)
        new = client.post(f"/v1/webhooks/{made}/rotate-secret", {"grace_ms": 60000}).json()["secret"]
        publish(client, {"type": "a.b"})
        hook = sink.wait(lambda h: len(h) == 1, "the event")[0]
        assert hook.is_signed_with(old) and hook.is_signed_with(new) and old != new
        assert hook.headers["webhook-signature"].count("v1a,") == 2
        assert hook.headers["X-Hub-Signature-256"].startswith("sha256=")
        assert client.get(f"/v1/webhooks/{made}/secret").json()["secret"] == new
        publisher = stack.tenant(plan="unlimited", scopes=["webhooks.read"])
        assert publisher.get(f"/v1/webhooks/{made}/secret").status_code == 403


def test_who_asks_for_it_hears_what_becomes_of_endpoints_and_deliveries(stack):
    client = tenant(stack)
    with Sink(lambda hook: 500) as failing, Sink() as observer, Sink() as everything:
        endpoint(client, observer, filter={"types": ["endpoint.*", "message.attempt.*"]})
        endpoint(client, everything)
        made, _ = endpoint(client, failing, retry_ms=[100], filter={"types": ["a.*"]})
        publish(client, {"type": "a.b"})
        observer.wait(lambda h: "message.attempt.exhausted" in [x.json["type"] for x in h], "the end of a delivery")
        client.post(f"/v1/webhooks/{made}/disable")
        observer.wait(lambda h: "endpoint.disabled" in [x.json["type"] for x in h], "the end of an endpoint")
        told = {h.json["type"]: h.json["data"] for h in observer.hooks}
        assert told["message.attempt.exhausted"]["endpoint_id"] == made
        assert told["message.attempt.exhausted"]["attempts"] == 2
        assert told["endpoint.disabled"] == {"id": made, "url": failing.url + "/hook", "reason": "BY_REQUEST"}
        assert {h.json["type"] for h in everything.hooks} == {"a.b"}


def test_a_delivery_that_keeps_failing_and_one_that_recovers_are_told_of(stack):
    client = tenant(stack)
    answers = iter([500] * 5 + [200])
    with Sink(lambda hook: next(answers, 200)) as flaky, Sink() as observer:
        endpoint(client, observer, filter={"types": ["message.attempt.*", "endpoint.secret.rotated"]})
        made, _ = endpoint(client, flaky, retry_ms=[100] * 6, filter={"types": ["a.*"]})
        ids = publish(client, {"type": "a.b"})
        observer.wait(lambda h: len(h) == 2, "its fourth failure and its success", timeout_s=60)
        failing, recovered = (h.json for h in sorted(observer.hooks, key=lambda h: h.json["sequence"]))
        assert failing["type"] == "message.attempt.failing" and recovered["type"] == "message.attempt.recovered"
        assert failing["data"]["attempts"] == 4 and failing["data"]["status"] == 500 and failing["data"]["next_at"]
        assert recovered["data"]["attempts"] == 6 and recovered["data"]["event_id"] == ids[0]
        assert failing["data"]["endpoint_id"] == made and "error" not in recovered["data"]
        until_ms = client.post(f"/v1/webhooks/{made}/rotate-secret").json()["previous_until"]
        rotated = observer.wait(lambda h: len(h) == 3, "the new secret", timeout_s=60)[2].json
        assert rotated["type"] == "endpoint.secret.rotated" and rotated["data"]["previous_until"] == until_ms


def test_an_endpoint_that_disables_itself_is_told_of_to_another(stack):
    client = tenant(stack)
    with Sink(lambda hook: 410) as gone, Sink() as observer:
        endpoint(client, observer, filter={"types": ["endpoint.disabled"]})
        made, _ = endpoint(client, gone, filter={"types": ["a.*"]})
        publish(client, {"type": "a.b"})
        told = observer.wait(lambda h: len(h) == 1, "the end of the endpoint", timeout_s=60)[0].json
        assert told["subject"] == made and told["data"]["reason"] == "GONE"


def test_order_is_kept_where_it_is_asked_for(stack):
    client = tenant(stack)
    failed = set()

    def answer(hook):  # each third one fails at first
        if hook.json["data"]["i"] % 3 == 0 and hook.id not in failed:
            failed.add(hook.id)
            return 500
        return 200

    with Sink(answer) as sink:
        endpoint(client, sink, ordered=True, retry_ms=[100] * 5)
        publish(client, *[{"type": "a.b", "data": {"i": i}} for i in range(12)])
        hooks = sink.wait(lambda h: len(h) == 16, "all, and four of them twice")
        seen = [h.json["data"]["i"] for h in hooks]
        assert seen == sorted(seen)


def test_private_addresses_are_refused_unless_allowed(own):
    stack = own(Serve, "--webhookd.allow=")
    client = tenant(stack)
    with Sink() as sink:
        endpoint(client, sink, retry_ms=[60000])
        publish(client, {"type": "a.b"})
        first = until(lambda: [d for d in client.get("/v1/deliveries").json().get("deliveries", []) if d.get("attempts")],
                      "the first try")[0]
        tries = client.get(f"/v1/deliveries/{first['id']}").json()["tries"]
        assert tries[0]["error"] == "refused_address" and not sink.hooks


@pytest.mark.parametrize("field, value", [
    ("url", "ftp://example.com/"), ("url", "/hook"), ("filter", {"types": ["doc..x"]}), ("filter", {"type_regex": "(a"}),
    ("headers", {"webhook-id": "x"}), ("headers", {"X": "a\nb"}), ("secret", "whsec_short"), ("retry_ms", [1]),
    ("timeout_ms", 1000000), ("concurrency", 0)])
def test_bad_endpoints_are_refused_by_field(stack, field, value):
    client = tenant(stack)
    answer = client.post("/v1/webhooks", {"url": "https://example.com/", field: value})
    assert answer.status_code == 400, answer.text
    assert any(e["pointer"].startswith("/" + field) for e in answer.json()["errors"]), answer.text
    assert not client.get("/v1/webhooks").json().get("endpoints")


def test_a_tenant_sees_and_changes_its_own_endpoints_only(stack):
    one, two = tenant(stack), tenant(stack)
    with Sink() as sink:
        made, _ = endpoint(one, sink)
        publish(one, {"type": "a.b"})
        until(lambda: states(one) == ["DELIVERED"], "it arrives")
        delivery = one.get("/v1/deliveries").json()["deliveries"][0]["id"]
        for verb, path in [("GET", ""), ("PATCH", ""), ("DELETE", ""), ("POST", "/enable"), ("POST", "/disable"),
                           ("GET", "/secret"), ("POST", "/rotate-secret"), ("POST", "/test"), ("GET", "/statistics")]:
            body = {} if verb in ("PATCH", "POST") else None
            assert two.request(verb, f"/v1/webhooks/{made}{path}", body).status_code == 404, (verb, path)
        recover = {"since": "2026-01-01T00:00:00Z"}
        assert two.post(f"/v1/webhooks/{made}/recover", recover).status_code == 404
        assert two.get(f"/v1/deliveries/{delivery}").status_code == 404
        assert two.post(f"/v1/deliveries/{delivery}/resend").status_code == 404
        assert states(two) == [] and not two.get("/v1/webhooks").json().get("endpoints")
        publish(two, {"type": "a.b"})
        assert len(sink.hooks) == 1


def test_hanging_endpoints_of_one_tenant_do_not_delay_another(own):
    stack = own(Serve, "--webhookd.in_flight=64")
    stuck, well = tenant(stack), tenant(stack)
    release = threading.Event()
    with Sink(lambda hook: release.wait(30) and 200 or 200) as hanging, Sink() as quick:
        for _ in range(20):
            endpoint(stuck, hanging, concurrency=256, timeout_ms=30000)
        endpoint(well, quick)
        publish(stuck, *[{"type": "a.b"} for _ in range(50)])
        for i in range(20):
            publish(well, {"type": "a.b"})
            quick.wait(lambda h, i=i: len(h) == i + 1, "the other tenant's event", timeout_s=5)
        release.set()


@pytest.mark.parametrize("make", [Serve, Processes])
def test_kill_9_loses_no_acknowledged_event_and_invents_none(own, make):
    stack = own(make)
    client = tenant(stack)
    with Sink(lambda hook: 500 if hash(hook.body) % 5 == 0 and hook.id not in seen(sink) else 200) as sink:
        endpoint(client, sink, retry_ms=[100, 100, 200, 200, 500])
        acknowledged, stop = [], threading.Event()

        def run(worker):
            mine = stack.client(client.key)
            for i in range(400):
                if stop.is_set():
                    return
                name = f"w{worker}-{i}"
                try:
                    answer = mine.post("/v1/events", {"events": [{"id": name, "type": "a.b", "data": {"i": i}}]})
                    if answer.status_code == 200:
                        acknowledged.append(name)
                except OSError:
                    pass

        with concurrent.futures.ThreadPoolExecutor(4) as pool:
            runs = [pool.submit(run, w) for w in range(4)]
            for _ in range(3):
                count = len(acknowledged)
                until(lambda c=count: len(acknowledged) > c + 40 or all(r.done() for r in runs), "some are published")
                if make is Serve:
                    stack.restart(signal.SIGKILL)
                else:
                    stack.by_name["webhookd", 0].stop(signal.SIGKILL)
                    stack.start_daemon("webhookd")
            until(lambda: all(r.done() for r in runs), "the publishers end", timeout_s=120)
        sink.wait(lambda h: {x.id for x in h} >= set(acknowledged), "all that was acknowledged", timeout_s=90)
        logged = set()
        page = client.get("/v1/events?after=0&page_size=200").json()
        while page.get("events"):
            logged |= {e["id"] for e in page["events"]}
            page = client.get(f"/v1/events?page_size=200&page_token={page['next_page_token']}").json()
        assert set(acknowledged) <= logged and {h.id for h in sink.hooks} <= logged
        assert page["last_sequence"] == len(logged)  # no gaps


def seen(sink):
    return {h.id for h in sink.hooks}


def test_two_replicas_share_the_work_and_one_that_stood_still_writes_nothing_stale(own):
    stack = own(Processes, replicas={"webhookd": 2})
    client = tenant(stack)
    with Sink() as sink:
        for _ in range(4):
            endpoint(client, sink)
        publish(client, *[{"type": "a.b", "data": {"i": i}} for i in range(50)])
        sink.wait(lambda h: len(h) >= 200, "all of them, four times")
        until(lambda: set(states(client)) == {"DELIVERED"}, "all are recorded")
        assert len(sink.hooks) == 200  # none twice


def test_an_idle_courier_looks_at_the_store_now_and_then_only(own):
    stack = own(Serve)
    count = re.compile(r'^corbel_store_statement_seconds_count\{.*statement="claim_look".*\} (\S+)$', re.M)

    def looks():
        found = count.search(requests.get(f"http://127.0.0.1:{stack.admin_port}/metrics", timeout=5).text)
        return float(found.group(1)) if found else 0

    first = until(looks, "the first look")
    start = time.monotonic()
    until(lambda: looks() >= first + 4, "four more")
    assert time.monotonic() - start > 1  # a look takes half a second to come
