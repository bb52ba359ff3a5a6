"""Plugins that run for events and over the payloads of webhooks."""
from plugin_calls import create, kinds, queue, tenant, until_ended
from sink import Sink
from stack import until


def test_an_event_runs_a_plugin(stack):
    client = tenant(stack)
    plugin = create(client, "print(context['type'], context['data']['n'])\nresult = context['subject']")
    made = client.post("/v1/webhooks", {"sink": "PLUGIN", "plugin": plugin, "filter": {"types": ["order.*"]}})
    assert made.status_code == 201, made.text
    endpoint = made.json()["endpoint"]["id"]
    client.post("/v1/events", {"events": [{"type": "order.made", "subject": "o1", "data": {"n": 7}}, {"type": "other.thing", "data": {}}]})
    ran = until(lambda: client.get("/v1/plugins/runs", params={"with_log": "true"}).json().get("runs"), "the run is listed")
    assert [(r["trigger"], r["outcome"], r["log"]) for r in ran] == [("BY_EVENT", "OK", "order.made 7\n")]
    delivered = until(lambda: [d for d in client.get("/v1/deliveries", params={"endpoint_id": endpoint}).json().get("deliveries", [])
                               if d["state"] == "DELIVERED"], "it counts as delivered")
    assert delivered[0]["event_id"] == ran[0]["event_id"]


def test_a_plugin_that_fails_for_an_event_is_a_failed_attempt(stack):
    client = tenant(stack)
    plugin = create(client, "result = 1 / context['data']['n']")
    made = client.post("/v1/webhooks", {"sink": "PLUGIN", "plugin": plugin, "filter": {"types": ["a.b"]}, "retry_ms": [100]})
    endpoint = made.json()["endpoint"]["id"]
    client.post("/v1/events", {"events": [{"type": "a.b", "data": {"n": 0}}]})
    gone = until(lambda: [d for d in client.get("/v1/deliveries", params={"endpoint_id": endpoint}).json().get("deliveries", [])
                          if d["state"] == "EXHAUSTED"], "it is given up")
    tries = client.get(f"/v1/deliveries/{gone[0]['id']}").json()["tries"]
    assert [t["error"] for t in tries] == ["plugin"] * 2 and "RUNTIME_ERROR" in tries[0]["detail"]


def test_a_plugin_makes_the_payload_of_a_webhook(stack):
    client = tenant(stack)
    plugin = create(client, "result = {'text': context['type'] + ' ' + str(context['data']['n'] * 2)}")
    with Sink() as sink:
        made = client.post("/v1/webhooks", {"url": sink.url, "transform": plugin, "filter": {"types": ["a.*"]}})
        assert made.status_code == 201, made.text
        client.post("/v1/events", {"events": [{"type": "a.b", "data": {"n": n}} for n in range(5)]})
        sink.wait(lambda hooks: len(hooks) == 5, "all are delivered", 60)
        assert sorted(hook.json["text"] for hook in sink.hooks) == [f"a.b {2 * n}" for n in range(5)]
        assert all(hook.is_signed_with(made.json()["secret"]) for hook in sink.hooks)
        refused = client.post("/v1/webhooks", {"url": sink.url, "transform": plugin, "format": "CLOUDEVENTS"})
        assert refused.status_code == 400 and refused.json()["errors"][0]["pointer"] == "/transform"


def test_no_event_runs_a_plugin_of_another_tenant(stack):
    client, other = tenant(stack), tenant(stack)
    plugin = create(other, "result = 1")
    made = client.post("/v1/webhooks", {"sink": "PLUGIN", "plugin": plugin, "filter": {"types": ["a.b"]}, "retry_ms": [100]})
    endpoint = made.json()["endpoint"]["id"]
    client.post("/v1/events", {"events": [{"type": "a.b", "data": {}}]})
    until(lambda: [d for d in client.get("/v1/deliveries", params={"endpoint_id": endpoint}).json().get("deliveries", [])
                   if d["state"] == "EXHAUSTED"], "it is given up")
    assert other.get("/v1/plugins/runs").json() == {} and client.get("/v1/plugins/runs").json() == {}


def test_a_plugin_that_fails_on_its_own_failures_comes_to_rest(stack):
    client = tenant(stack)
    plugin = create(client, "result = 1 / 0")
    client.post("/v1/webhooks", {"sink": "PLUGIN", "plugin": plugin, "filter": {"types": ["sandbox.run.*"]}, "retry_ms": [100]})
    until_ended(client, queue(client, plugin))
    until(lambda: "EXHAUSTED" in [d["state"] for d in client.get("/v1/deliveries").json().get("deliveries", [])], "the event is given up")
    until(lambda: len(client.get("/v1/plugins/runs").json().get("runs", [])) == 3, "all runs are recorded")
    assert kinds(client, "sandbox.run.*") == ["sandbox.run.failed"]
