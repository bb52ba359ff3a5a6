"""Recoveries: what an endpoint did not get, sent again in bounded steps."""
import signal

import pytest
from sink import Sink
from stack import Processes, Serve, until


def tenant(stack):
    return stack.tenant(plan="unlimited", scopes=["events.*", "webhooks.*"])


def endpoint(client, sink, **options):
    """Made, and disabled before anything comes."""
    made = client.post("/v1/webhooks", {"url": sink.url + "/hook", "filter": {"types": ["a.b"]}, **options})
    assert made.status_code == 201, made.text
    made = made.json()["endpoint"]["id"]
    assert client.post(f"/v1/webhooks/{made}/disable").status_code == 200
    return made


def publish(client, count):
    for _ in range(0, count, 100):
        made = client.post("/v1/events", {"events": [{"type": "a.b"}] * 100})
        assert made.status_code == 200, made.text


@pytest.mark.parametrize("make", [Serve, Processes])
def test_kill_9_ends_no_recovery(own, make):
    stack = own(make, "--webhookd.lease=2s")
    client = tenant(stack)
    with Sink() as sink:
        made = endpoint(client, sink)
        publish(client, 3000)
        assert client.post(f"/v1/webhooks/{made}/enable").status_code == 200
        answer = client.post(f"/v1/webhooks/{made}/recover", {"since": "2026-01-01T00:00:00Z"})
        assert answer.json() == {"deliveries": 3000}, answer.text
        if make is Serve:
            stack.restart(signal.SIGKILL)
        else:
            stack.by_name["webhookd", 0].stop(signal.SIGKILL)
            stack.start_daemon("webhookd")
        sink.wait(lambda h: len({x.id for x in h}) == 3000, "all of them", timeout_s=120)
        until(lambda: not client.get("/v1/deliveries?state=SKIPPED").json().get("deliveries"), "none is left")


def test_a_recovery_of_many_ends_when_the_endpoint_is_disabled(stack):
    client = tenant(stack)
    with Sink() as sink:
        made = endpoint(client, sink, rate_per_second=1)
        publish(client, 2500)
        client.post(f"/v1/webhooks/{made}/enable")
        recover = {"since": "2026-01-01T00:00:00Z"}
        assert client.post(f"/v1/webhooks/{made}/recover", recover).json() == {"deliveries": 2500}
        client.post(f"/v1/webhooks/{made}/disable")
        until(lambda: client.get(f"/v1/webhooks/{made}/statistics").json().get("backlog") == 0, "nothing waits")
        client.post(f"/v1/webhooks/{made}/enable")
        assert client.get(f"/v1/webhooks/{made}/statistics").json().get("backlog") == 0
