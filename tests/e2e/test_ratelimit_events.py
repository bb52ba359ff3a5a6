"""What ratelimitd tells the event log: changes of limits, each; refusals, sampled."""
from stack import until

SCOPES = ["events.*", "limits.*", "ratelimits.*"]


def tenant(stack, plan="unlimited"):
    client = stack.tenant(plan=plan, scopes=SCOPES)
    until(lambda: log(client), "the key's event is in the log")
    return client


def log(client, pattern="**"):
    return client.get("/v1/events", params={"after": 0, "type": pattern, "page_size": 200}).json().get("events", [])


def check(client, limit, key):
    answer = client.post("/v1/ratelimits/check", {"checks": [{"limit": limit, "key": key}]})
    assert answer.status_code == 200, answer.text
    return answer.json()["allowed"]


def limit(client, name, units, **more):
    made = client.post("/v1/limits", {"name": name, "strategy": "FIXED_WINDOW", "limit": units, "window_ms": 3600000, **more})
    assert made.status_code == 201, made.text
    return made.json()["id"]


def test_every_change_of_a_limit_is_told(stack):
    client = tenant(stack)
    made = limit(client, "charts", 5)
    assert client.patch(f"/v1/limits/{made}", {"limit": 7}).status_code == 200
    assert client.delete(f"/v1/limits/{made}").status_code == 204
    told = until(lambda: (events := log(client, "ratelimit.**")) and len(events) == 3 and events, "three changes")
    assert [e["type"] for e in told] == ["ratelimit.policy.updated"] * 3
    assert [(e["data"]["action"], e["data"]["quota"]) for e in told] == [("created", 5), ("updated", 7), ("deleted", 7)]
    assert {e["subject"] for e in told} == {made} and {e["source"] for e in told} == {"ratelimitd"}
    assert {e["data"]["by"] for e in told} == {client.key_id}


def test_refusals_are_told_of_once_a_minute_for_each_key(stack):
    client = tenant(stack)
    limit(client, "charts", 2)
    for key in ("a", "b"):
        assert [check(client, "charts", key) for _ in range(6)] == [True] * 2 + [False] * 4
    told = until(lambda: (events := log(client, "ratelimit.exceeded")) and len(events) == 2 and events, "both keys")
    assert {e["data"]["key"] for e in told} == {"a", "b"} == {e["subject"] for e in told}
    for one in told:
        assert one["data"]["limit"] == "charts" and one["data"]["quota"] == 2 and 1 <= one["data"]["refused"] <= 4
        assert 0 < one["data"]["retry_after_ms"] <= 3600000
    assert [check(client, "charts", "a") for _ in range(3)] == [False] * 3
    limit(client, "later", 1)  # what is told after it would have been told, too
    until(lambda: len(log(client, "ratelimit.policy.updated")) == 2, "the change")
    assert len(log(client, "ratelimit.exceeded")) == 2


def test_a_limit_of_nothing_and_a_plan_that_is_used_up_are_told_of(stack):
    client = tenant(stack)
    limit(client, "charts", 0, level="KEY", subject="bad")
    assert not check(client, "charts", "bad")
    told = until(lambda: log(client, "ratelimit.blocked"), "the block")
    assert told[0]["data"]["key"] == "bad" and told[0]["data"]["reason"]
    poor = stack.tenant(plan="free", scopes=SCOPES)
    until(lambda: poor.get("/v1/limits").status_code == 429, "the plan is used up")
    def heard():
        return stack.operator.get("/v1/events", params={"tenant_id": poor.tenant_id, "type": "ratelimit.exceeded"}).json().get("events")
    assert until(heard, "it is told")[0]["data"]["limit"] == "api.read"
