"""The handshake of CloudEvents' web hooks: nobody gets deliveries who has not agreed."""
import time

from sink import Sink
from stack import until

SCOPES = ["events.*", "webhooks.*"]


def tenant(stack):
    client = stack.tenant(plan="unlimited", scopes=SCOPES)
    until(lambda: client.get("/v1/events").json().get("last_sequence") == 1, "the key's event is in the log")
    return client


def endpoint(client, sink, **options):
    made = client.post("/v1/webhooks", {"url": sink.url + "/hook", "handshake": True, **options})
    assert made.status_code == 201, made.text
    return made.json()["endpoint"]


def handshake(client, made):
    answer = client.post(f"/v1/webhooks/{made['id']}/handshake")
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_deliveries_begin_when_the_receiver_agrees(stack):
    client = tenant(stack)
    agreed = []
    with Sink(options=lambda headers: agreed) as sink:
        made = endpoint(client, sink, rate_per_second=2)
        assert made["disabled"] and made["disabled_reason"] == "UNCONSENTED"
        client.post("/v1/events", {"events": [{"type": "a.b"}]})
        refused = handshake(client, made)
        assert refused["consented"] is False and refused["attempt"]["error"] == "no_consent"
        assert refused["attempt"]["status"] == 200  # which proves nothing
        assert client.post(f"/v1/webhooks/{made['id']}/enable").status_code == 409
        asked = sink.asked[0]
        assert asked["WebHook-Request-Origin"] == "corbel" and asked["WebHook-Request-Rate"] == "120"
        agreed += [("WebHook-Allowed-Origin", "corbel"), ("WebHook-Allowed-Rate", "600")]
        given = handshake(client, made)
        assert given["consented"] and given["endpoint"]["allowed_per_minute"] == 600 and given["endpoint"]["consented_at"]
        assert given["endpoint"]["disabled"] is False
        client.post("/v1/events", {"events": [{"type": "a.b"}]})
        sink.wait(lambda h: len(h) == 1, "what came after", timeout_s=60)
        since = client.get("/v1/events?after=1&page_size=1").json()["events"][0]["recorded_at"]
        client.post(f"/v1/webhooks/{made['id']}/recover", {"since": since})
        sink.wait(lambda h: len(h) == 2, "what came before", timeout_s=60)


def test_another_url_has_to_agree_anew(stack):
    client = tenant(stack)
    with Sink(options=lambda headers: [("WebHook-Allowed-Origin", "*")]) as sink, Sink() as other:
        made = endpoint(client, sink)
        assert handshake(client, made)["consented"]
        changed = client.patch(f"/v1/webhooks/{made['id']}", {"description": "the same"}).json()
        assert changed["disabled"] is False
        changed = client.patch(f"/v1/webhooks/{made['id']}", {"url": other.url}).json()
        assert changed["disabled_reason"] == "UNCONSENTED" and "consented_at" not in changed
        assert not handshake(client, made)["consented"]
        assert client.patch(f"/v1/webhooks/{made['id']}", {"handshake": False}).json()["disabled"]
        assert client.post(f"/v1/webhooks/{made['id']}/enable").json()["disabled"] is False
        client.post("/v1/events", {"events": [{"type": "a.b"}]})
        other.wait(lambda h: len(h) == 1, "an endpoint without a handshake gets what comes", timeout_s=60)
        assert client.post(f"/v1/webhooks/{made['id']}/handshake").status_code == 409


def test_the_rate_that_was_agreed_to_binds(stack):
    client = tenant(stack)
    with Sink(options=lambda headers: [("WebHook-Allowed-Origin", "*"), ("WebHook-Allowed-Rate", "60")]) as sink:
        handshake(client, endpoint(client, sink))
        client.post("/v1/events", {"events": [{"type": "a.b"}] * 3})
        start = time.monotonic()
        hooks = sink.wait(lambda h: len(h) == 3, "three of them", timeout_s=60)
        assert time.monotonic() - start >= 1 and hooks[2].at - hooks[0].at >= 1.5  # one a second


def test_a_receiver_that_is_not_there_has_not_agreed(stack):
    client = tenant(stack)
    with Sink() as sink:
        made = endpoint(client, sink)
    answer = handshake(client, made)
    assert answer["consented"] is False and answer["attempt"]["error"] == "connect"
    assert tenant(stack).post(f"/v1/webhooks/{made['id']}/handshake").status_code == 404
