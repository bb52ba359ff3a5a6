"""Endpoints that are disabled or deleted while much waits for them: in bounded steps, whoever is killed."""
import signal

import pytest
from sink import Sink
from stack import Processes, Serve, until

COUNT = 2500  # more than two steps


def full_endpoint(client, sink):
    """One for which COUNT deliveries wait, one or two of them sent a second."""
    made = client.post(
        "/v1/webhooks", {"url": sink.url + "/hook", "rate_per_second": 1, "filter": {"types": ["a.b"]}}
    ).json()["endpoint"]["id"]
    for _ in range(0, COUNT, 100):
        answer = client.post("/v1/events", {"events": [{"type": "a.b"}] * 100})
        assert answer.status_code == 200, answer.text
    return made


def kill(stack):
    if isinstance(stack, Serve):
        stack.restart(signal.SIGKILL)
    else:
        stack.by_name["webhookd", 0].stop(signal.SIGKILL)
        stack.start_daemon("webhookd")


def backlog(client, endpoint):
    answer = client.get(f"/v1/webhooks/{endpoint}/statistics")
    return answer.json()["backlog"] if answer.status_code == 200 else None


def has(client, query):
    answer = client.get(f"/v1/deliveries?{query}")
    return len(answer.json().get("deliveries", [])) > 0 if answer.status_code == 200 else None


def tenant(stack):
    return stack.tenant(plan="unlimited", scopes=["events.*", "webhooks.*"])


@pytest.mark.parametrize("make", [Serve, Processes])
def test_kill_9_keeps_nothing_waiting_for_a_disabled_or_deleted_endpoint(own, make):
    stack = own(make, "--webhookd.lease=2s")
    client = tenant(stack)
    with Sink() as sink:
        disabled, deleted = full_endpoint(client, sink), full_endpoint(client, sink)
        assert client.post(f"/v1/webhooks/{disabled}/disable").status_code == 200
        assert client.delete(f"/v1/webhooks/{deleted}").status_code in (200, 204)
        kill(stack)
        until(lambda: backlog(client, disabled) == 0, "nothing waits for the disabled one", timeout_s=60)
        until(lambda: has(client, f"endpoint_id={deleted}") is False, "nothing is left of the deleted one",
              timeout_s=60)
        assert has(client, f"endpoint_id={disabled}&state=SKIPPED")
        assert not has(client, f"endpoint_id={disabled}&state=PENDING")


@pytest.mark.parametrize("make", [Serve, Processes])
def test_an_endpoint_enabled_at_once_gets_nothing_from_before(own, make):
    stack = own(make)
    client = tenant(stack)
    with Sink() as sink:
        made = full_endpoint(client, sink)
        assert client.post(f"/v1/webhooks/{made}/disable").status_code == 200
        answer = client.post(f"/v1/webhooks/{made}/enable", headers={"Idempotency-Key": "enable-once"})
        assert answer.status_code == 200, answer.text
        assert backlog(client, made) == 0
        again = client.post(f"/v1/webhooks/{made}/enable", headers={"Idempotency-Key": "enable-once"})
        assert again.status_code == 200 and again.json() == answer.json()
        sent = len(sink.hooks)
        client.post("/v1/events", {"events": [{"type": "a.b", "subject": "after"}]})
        sink.wait(lambda hooks: any(b"after" in hook.body for hook in hooks), "the next one", timeout_s=60)
        assert len(sink.hooks) <= sent + 2  # it, and one that was under way
