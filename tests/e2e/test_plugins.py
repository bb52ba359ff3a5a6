"""Plugins over HTTP and the command line: versions, runs that are waited for, runs that are queued, triggers."""
import concurrent.futures
import json
import os
import signal
import sqlite3
import subprocess
import time

import pytest
from sink import Sink
from stack import BIN, Processes, Serve, until

SCOPES = ["plugins.*", "events.*", "webhooks.*"]
DOUBLE = "print('adding', len(context['numbers']))\nresult = sum(context['numbers']) * 2\n"
SLOW = "while True:\n    pass\n"


def tenant(stack, plan="unlimited", scopes=SCOPES):
    return stack.tenant(plan=plan, scopes=scopes)


def create(client, code=DOUBLE, name="doubled", install=True, **more):
    made = client.post("/v1/plugins", {"name": name, "code": code, "install": install, **more})
    assert made.status_code == 201, made.text
    return made.json()["id"]


def run(client, plugin, context=None, **more):
    ran = client.post(f"/v1/plugins/{plugin}/run", {**({} if context is None else {"context": context}), **more})
    assert ran.status_code == 200, ran.text
    return ran.json()


def run_code(client, code, **more):
    ran = client.post("/v1/plugins/run", {"code": code, **more})
    assert ran.status_code == 200, ran.text
    return ran.json()


def queue(client, plugin, context=None):
    made = client.post(f"/v1/plugins/{plugin}/queue", {} if context is None else {"context": context})
    assert made.status_code == 202, made.text
    return made.json()["id"]


def read(client, made):
    return client.get(f"/v1/plugins/runs/{made}").json()


def until_ended(client, made):
    return until(lambda: (found := read(client, made))["state"] == "RUN_ENDED" and found, f"{made} has ended")


def until_state(client, made, state):
    return until(lambda: (found := read(client, made))["state"] == state and found, f"{made} is {state}")


def kinds(client, pattern):
    return [e["type"] for e in client.get("/v1/events", params={"type": pattern, "after": 0}).json().get("events", [])]


# ---------------------------------------------------------------- runs that are waited for


def test_a_plugin_runs_and_its_result_log_and_figures_come_back(stack):
    client = tenant(stack)
    plugin = create(client)
    ran = run(client, plugin, {"numbers": [20, 22]})
    assert (ran["outcome"], ran["result"], ran["log"], ran["version"]) == ("OK", 84, "adding 2\n", 1)
    assert ran["state"] == "RUN_ENDED" and ran["wall_us"] > 0 and ran["limits"]["cpu_ms"] == 10000
    kept = until(lambda: client.get(f"/v1/plugins/runs/{ran['id']}").json().get("outcome"), "the run is in the history")
    assert kept == "OK"


@pytest.mark.parametrize("code,outcome", [
    ("result = 1 / 0", "RUNTIME_ERROR"),
    ("import os", "INVALID_CODE"),
    ("result = {1, 2}", "RESULT_NOT_JSON"),
    ("result = 'x' * 5000", "OUTPUT_LIMIT"),
    ("x = []\nwhile True:\n    x.append('y' * 1000000)", "MEMORY_LIMIT"),
    (SLOW, "CPU_LIMIT"),
])
def test_ends_are_told_apart(stack, code, outcome):
    limits = {"cpu_ms": 300, "wall_ms": 20000, "memory_bytes": 64 << 20, "output_bytes": 1000}
    ran = run_code(tenant(stack), code, limits=limits)
    assert ran["outcome"] == outcome and ran["message"] if outcome != "INVALID_CODE" else ran["violations"][0]["line"] == 1


def test_code_without_a_plugin_needs_a_scope_of_its_own(stack):
    client = tenant(stack, scopes=["plugins.read", "plugins.write", "plugins.run"])
    assert client.post("/v1/plugins/run", {"code": "result = 1"}).status_code == 403
    assert run(client, create(client, "result = 1"))["result"] == 1


def test_a_plan_and_a_key_cap_what_a_run_may_take(own):
    stack = own(Serve)
    limits = [{"resource": f"plugins.{name}", "limit": limit, "window_ms": 1000} for name, limit in
              (("cpu_ms", 700), ("wall_ms", 900), ("memory_bytes", 40000000))]
    made = stack.operator.post("/v1/plans", {"name": "small", "limits": limits})
    assert made.status_code == 201, made.text
    client = tenant(stack, plan="small")
    ran = until(lambda: (r := run_code(client, "result = 1"))["limits"]["cpu_ms"] == 700 and r, "the plan is known")
    assert ran["limits"]["wall_ms"] == 900 and ran["limits"]["memory_bytes"] == 40000000
    asked = run_code(client, "result = 1", limits={"cpu_ms": 50})["limits"]
    assert (asked["cpu_ms"], asked["wall_ms"]) == (50, 900)
    key = stack.operator.post("/v1/keys", {"tenant_id": client.tenant_id, "name": "tight", "scopes": SCOPES, "limits": [
        {"resource": "plugins.cpu_ms", "limit": 300, "window_ms": 1000}]}).json()["secret"]
    assert run_code(stack.client(key), "result = 1")["limits"]["cpu_ms"] == 300


def test_the_example_plans_cap_runs_and_can_be_edited(own):
    stack = own(Serve)
    client = tenant(stack, plan="free")
    ran = until(lambda: (r := run_code(client, "result = 1"))["limits"]["cpu_ms"] == 1000 and r, "the plan is known")
    assert (ran["limits"]["wall_ms"], ran["limits"]["memory_bytes"]) == (5000, 64 << 20)
    assert run_code(client, SLOW)["outcome"] in ("CPU_LIMIT", "TIMEOUT")  # whichever comes first on a busy machine
    limits = [{**limit, "limit": 300} if limit["resource"] == "plugins.cpu_ms" else limit
              for limit in stack.operator.get("/v1/plans/free").json()["limits"]]
    assert stack.operator.patch("/v1/plans/free", {"limits": limits}).status_code == 200
    until(lambda: run_code(client, "result = 1")["limits"]["cpu_ms"] == 300, "the change is in force")


def test_a_plan_counts_runs_of_every_kind(own):
    stack = own(Serve)
    day = {"resource": "plugins.runs", "limit": 20, "window_ms": 86400000}
    assert stack.operator.post("/v1/plans", {"name": "few", "limits": [day]}).status_code == 201
    client = tenant(stack, plan="few")
    plugin = create(client, "result = 1")
    made = client.post("/v1/webhooks", {"sink": "PLUGIN", "plugin": plugin, "filter": {"types": ["order.*"]}})
    event, endpoint = {"events": [{"type": "order.made", "data": {}}]}, made.json()["endpoint"]["id"]
    client.post("/v1/events", event)
    until(lambda: client.get("/v1/plugins/runs").json().get("runs"), "an event runs it")
    refused = until(lambda: (r := client.post(f"/v1/plugins/{plugin}/run")).status_code == 429 and [r], "there are no more")[0]
    assert '"plugins.runs";q=20' in refused.headers["RateLimit-Policy"] and int(refused.headers["Retry-After"]) > 0
    for path, body in ((f"/v1/plugins/{plugin}/queue", {}), ("/v1/plugins/run", {"code": "result = 1"})):
        assert client.post(path, body).status_code == 429
    client.post("/v1/events", event)

    def tries():
        found = client.get("/v1/deliveries", params={"endpoint_id": endpoint}).json().get("deliveries", [])
        return [t for d in found for t in client.get(f"/v1/deliveries/{d['id']}").json().get("tries", []) if t.get("error")]
    assert "no more runs" in until(tries, "the event was tried")[0]["detail"]


def test_schemas_refuse_a_context_and_a_result_that_do_not_fit(stack):
    client = tenant(stack)
    plugin = create(client, "result = context['n']", input_schema={"type": "object", "required": ["n"]},
                    output_schema={"type": "integer"})
    assert run(client, plugin, {"n": 7})["result"] == 7
    refused = client.post(f"/v1/plugins/{plugin}/run", {"context": {}})
    assert refused.status_code == 400 and refused.json()["errors"][0]["pointer"].startswith("/context")
    ran = run(client, plugin, {"n": "seven"})
    assert ran["outcome"] == "INVALID_RESULT" and "result" not in ran
    wrong = client.post("/v1/plugins", {"name": "w", "code": "result = 1", "input_schema": {"type": "nothing"}})
    assert wrong.status_code == 400 and wrong.json()["errors"][0]["pointer"].startswith("/input_schema")


def test_an_idempotency_key_runs_a_plugin_once(stack):
    client = tenant(stack)
    plugin = create(client, "import random\nresult = random.random()")
    headers = {"Idempotency-Key": "once"}
    first = client.post(f"/v1/plugins/{plugin}/run", {}, headers=headers).json()
    assert client.post(f"/v1/plugins/{plugin}/run", {}, headers=headers).json() == first
    assert run(client, plugin)["result"] != first["result"]


# ---------------------------------------------------------------- versions


def test_versions_are_installed_rolled_back_and_kept(stack):
    client = tenant(stack)
    plugin = create(client, "result = 'one'", install=False)
    refused = client.post(f"/v1/plugins/{plugin}/run")
    assert refused.status_code == 409 and "installed" in refused.json()["detail"]
    assert run(client, plugin, version=1)["result"] == "one"  # tried before it is in force
    assert client.post(f"/v1/plugins/{plugin}/install").json()["installed_version"] == 1
    assert client.post(f"/v1/plugins/{plugin}/rollback").status_code == 409
    changed = client.patch(f"/v1/plugins/{plugin}", {"code": "result = 'two'"}).json()
    assert (changed["installed_version"], changed["latest_version"]) == (1, 2)
    assert run(client, plugin)["result"] == "one"
    client.post(f"/v1/plugins/{plugin}/install")
    assert run(client, plugin)["result"] == "two"
    assert client.post(f"/v1/plugins/{plugin}/rollback").json()["installed_version"] == 1
    assert run(client, plugin)["result"] == "one"
    versions = client.get(f"/v1/plugins/{plugin}/versions").json()["versions"]
    assert [v["version"] for v in versions] == [2, 1] and "code" not in versions[0]
    assert client.get(f"/v1/plugins/{plugin}/versions/2").json()["code"] == "result = 'two'"
    assert client.get(f"/v1/plugins/{plugin}/versions/3").status_code == 404


def test_a_disabled_or_deleted_plugin_does_not_run(stack):
    client = tenant(stack)
    plugin = create(client, "result = 1")
    assert client.post(f"/v1/plugins/{plugin}/disable").json()["disabled"]
    assert client.post(f"/v1/plugins/{plugin}/run").status_code == 409
    assert not client.post(f"/v1/plugins/{plugin}/enable").json()["disabled"]
    assert run(client, plugin)["result"] == 1
    assert client.delete(f"/v1/plugins/{plugin}").status_code == 204
    assert client.post(f"/v1/plugins/{plugin}/run").status_code == 404
    assert client.get(f"/v1/plugins/{plugin}").status_code == 404
    until(lambda: kinds(client, "sandbox.plugin.*") == [
        "sandbox.plugin." + k for k in ("created", "installed", "disabled", "enabled", "deleted")], "its life is told")


def test_code_that_may_not_run_is_refused_with_line_and_reason(stack):
    client = tenant(stack)
    told = client.post("/v1/plugins/validate", {"code": "x = 1\nimport socket\n"}).json()
    assert not told["valid"] and told["violations"][0]["line"] == 2 and "socket" in told["violations"][0]["reason"]
    assert client.post("/v1/plugins/validate", {"code": DOUBLE}).json() == {"valid": True}
    refused = client.post("/v1/plugins", {"name": "bad", "code": "x = (\n"})
    assert refused.status_code == 400 and refused.json()["errors"][0]["pointer"] == "/code"
    assert client.post("/v1/plugins", {"name": "twice", "code": "result = 1"}).status_code == 201
    assert client.post("/v1/plugins", {"name": "twice", "code": "result = 1"}).status_code == 409


def test_a_shared_plugin_is_copied_into_the_tenant_that_installs_it(stack):
    client = tenant(stack)
    name = f"shared-{client.tenant_id[-8:]}"
    assert client.post("/v1/plugins", {"name": name, "code": "result = 1", "shared": True}).status_code == 400
    shared = create(stack.operator, "result = 'first'", name, shared=True)
    assert shared in [p["id"] for p in client.get("/v1/plugins", params={"shared": "true"}).json()["plugins"]]
    assert client.patch(f"/v1/plugins/{shared}", {"description": "mine"}).status_code == 404
    assert client.post(f"/v1/plugins/{shared}/run").status_code == 404  # it has to be installed
    copy = client.post(f"/v1/plugins/{shared}/install").json()
    assert (copy["tenant_id"], copy["source_id"], copy["name"]) == (client.tenant_id, shared, name)
    assert run(client, copy["id"])["result"] == "first"
    stack.operator.patch(f"/v1/plugins/{shared}", {"code": "result = 'second'", "install": True})
    assert run(client, copy["id"])["result"] == "first"
    again = client.post(f"/v1/plugins/{shared}/install").json()
    assert (again["id"], again["installed_version"]) == (copy["id"], 2)
    assert run(client, copy["id"])["result"] == "second"
    stack.operator.delete(f"/v1/plugins/{shared}")
    assert run(client, copy["id"])["result"] == "second"


def test_no_tenant_sees_anothers_plugins_and_runs(stack):
    mine, other = tenant(stack), tenant(stack)
    plugin = create(mine, "result = 1")
    made = queue(mine, plugin)
    until_ended(mine, made)
    for verb, path in (("get", f"/{plugin}"), ("delete", f"/{plugin}"), ("get", f"/{plugin}/versions"), ("get", f"/{plugin}/versions/1"),
                       ("post", f"/{plugin}/run"), ("post", f"/{plugin}/queue"), ("post", f"/{plugin}/install"),
                       ("post", f"/{plugin}/rollback"), ("post", f"/{plugin}/enable"), ("post", f"/{plugin}/disable"),
                       ("get", f"/runs/{made}"), ("post", f"/runs/{made}/cancel")):
        assert getattr(other, verb)(f"/v1/plugins{path}").status_code == 404, path
    assert other.patch(f"/v1/plugins/{plugin}", {"code": "result = 2"}).status_code == 404
    assert other.get("/v1/plugins").json() == {} and other.get("/v1/plugins/runs").json() == {}
    assert other.get("/v1/plugins/statistics", params={"plugin_id": plugin}).json()["runs"] == 0
    for path in ("/v1/plugins", "/v1/plugins/runs", "/v1/plugins/statistics"):
        assert other.get(path, params={"tenant_id": mine.tenant_id}).status_code == 403


# ---------------------------------------------------------------- runs that are queued


def test_queued_runs_are_done_and_kept_with_their_results(stack):
    client = tenant(stack)
    plugin = create(client)
    made = [queue(client, plugin, {"numbers": [n]}) for n in range(10)]
    ended = [until_ended(client, one) for one in made]
    assert [e["result"] for e in ended] == [2 * n for n in range(10)]
    assert {e["attempts"] for e in ended} == {1} and ended[0]["log"] == "adding 1\n"
    page = client.get("/v1/plugins/runs", params={"page_size": 4, "plugin_id": plugin}).json()
    assert [r["id"] for r in page["runs"]] == made[:5:-1] and "log" not in page["runs"][0]
    rest = client.get("/v1/plugins/runs", params={"page_size": 100, "plugin_id": plugin, "page_token": page["next_page_token"]}).json()
    assert [r["id"] for r in rest["runs"]] == made[5::-1] and "next_page_token" not in rest
    since = client.get("/v1/plugins/runs", params={"ended_since": min(e["ended_at"] for e in ended), "with_log": "true"}).json()["runs"]
    assert len(since) == 10 and since[0]["log"] == "adding 1\n"
    assert [r["ended_at"] for r in since] == sorted(r["ended_at"] for r in since)
    paged, token = [], None
    while token or not paged:
        page = client.get("/v1/plugins/runs", params={"ended_since": since[0]["ended_at"], "page_size": 3, **({"page_token": token} if token else {})}).json()
        paged += [r["id"] for r in page["runs"]]
        token = page.get("next_page_token")
    assert paged == [r["id"] for r in since] and "log" not in page["runs"][0]
    told = client.get("/v1/plugins/statistics").json()
    assert told["runs"] == 10 and told["queued"] == 0 and told["outcomes"][0]["outcome"] == "OK"
    until(lambda: kinds(client, "sandbox.run.*").count("sandbox.run.completed") == 10, "each end is told")


def test_a_failed_run_is_told(stack):
    client = tenant(stack)
    plugin = create(client, "result = 1 / 0")
    assert until_ended(client, queue(client, plugin))["outcome"] == "RUNTIME_ERROR"
    assert run(client, plugin)["outcome"] == "RUNTIME_ERROR"
    assert client.get("/v1/plugins/runs", params={"outcome": "OK"}).json() == {}
    until(lambda: kinds(client, "sandbox.run.*") == ["sandbox.run.failed"] * 2, "the failures are told")


def test_a_run_is_cancelled_where_it_runs_and_where_it_waits(stack):
    client = tenant(stack)
    plugin = create(client, SLOW, limits={"cpu_ms": 60000, "wall_ms": 60000})
    made = [queue(client, plugin) for _ in range(12)]  # more than there are slots
    until_state(client, made[0], "RUN_UNDER_WAY")
    for one in reversed(made):
        assert client.post(f"/v1/plugins/runs/{one}/cancel").status_code == 200
    ended = [until_ended(client, one) for one in made]
    assert {e["outcome"] for e in ended} == {"CANCELLED"}
    assert client.post(f"/v1/plugins/runs/{made[0]}/cancel").json()["outcome"] == "CANCELLED"
    assert run_code(client, "result = 1")["result"] == 1  # the slots are free again


def test_the_queue_of_a_tenant_is_bounded_by_its_plan(own):
    stack = own(Serve)
    limits = [{"resource": "plugins.queued", "limit": 3, "window_ms": 1000}, {"resource": "plugins.at_once", "limit": 1, "window_ms": 1000}]
    stack.operator.post("/v1/plans", {"name": "tiny", "limits": limits})
    client = tenant(stack, plan="tiny")
    plugin = create(client, SLOW, limits={"cpu_ms": 60000, "wall_ms": 60000})

    def refused():
        answer = client.post(f"/v1/plugins/{plugin}/queue")
        return answer.status_code == 429 and [answer]
    assert until(refused, "the queue is full")[0].json()["type"].endswith("quota-exceeded")
    assert len(client.get("/v1/plugins/runs", params={"state": "RUN_QUEUED"}).json()["runs"]) == 3
    other = tenant(stack)  # whose run does not wait for theirs
    assert until_ended(other, queue(other, create(other, "result = 1")))["result"] == 1
    for one in client.get("/v1/plugins/runs", params={"page_size": 200}).json()["runs"]:
        client.post(f"/v1/plugins/runs/{one['id']}/cancel")


def test_queued_runs_survive_a_kill_and_are_begun_again(own):
    stack = own(Serve, "--sandboxd.lease=3s")
    client = tenant(stack)
    plugin = create(client, "n = 0\nfor i in range(context['turns']):\n    n += i\nresult = n",
                    limits={"cpu_ms": 60000, "wall_ms": 120000})
    slow = [queue(client, plugin, {"turns": 10 ** 7 * 3}) for _ in range(2)]
    quick = [queue(client, plugin, {"turns": 10}) for _ in range(20)]
    until_state(client, slow[0], "RUN_UNDER_WAY")
    stack.restart(signal.SIGKILL)
    client = stack.client(client.key)
    ended = [until_ended(client, one) for one in slow + quick]
    assert {e["outcome"] for e in ended} == {"OK"} and {e["result"] for e in ended[2:]} == {45}
    assert ended[0]["attempts"] == 2 and max(e["attempts"] for e in ended) == 2


def test_a_run_that_loses_its_replica_too_often_is_given_up(own):
    stack = own(Serve, "--sandboxd.lease=3s", "--sandboxd.attempts=1")
    client = tenant(stack)
    plugin = create(client, SLOW, limits={"cpu_ms": 60000, "wall_ms": 60000})
    made = queue(client, plugin)
    until_state(client, made, "RUN_UNDER_WAY")
    stack.restart(signal.SIGKILL)
    ended = until_ended(stack.client(client.key), made)
    assert ended["outcome"] == "HOST_ERROR" and ended["attempts"] == 1


def test_a_run_whose_row_cannot_be_read_holds_up_no_other(own):
    stack = own(Serve, "--sandboxd.lease=3s", "--sandboxd.attempts=1")
    client = tenant(stack)
    plugin = create(client, SLOW, limits={"cpu_ms": 60000, "wall_ms": 60000})
    made = [queue(client, plugin) for _ in range(2)]
    for one in made:
        until_state(client, one, "RUN_UNDER_WAY")
    stack.serve.stop(signal.SIGKILL)
    with sqlite3.connect(stack.data / "sandboxd.db") as database:
        database.execute("UPDATE runs SET message = x'ff', leased_until = 1 WHERE id = ?", (made[0],))
    database.close()
    stack.start()
    client = stack.client(client.key)
    assert [until_ended(client, one)["outcome"] for one in reversed(made)] == ["HOST_ERROR"] * 2


def test_a_stop_hands_queued_runs_back_without_counting_them(own):
    stack = own(Serve, "--drain.grace=4s")
    client = tenant(stack)
    plugin = create(client, SLOW, limits={"cpu_ms": 60000, "wall_ms": 60000})
    made = queue(client, plugin)
    until_state(client, made, "RUN_UNDER_WAY")
    assert stack.restart() == 0
    client = stack.client(client.key)
    assert until_state(client, made, "RUN_UNDER_WAY")["attempts"] == 1
    client.post(f"/v1/plugins/runs/{made}/cancel")
    until_ended(client, made)


def test_replicas_share_the_queue_and_follow_each_other(own):
    stack = own(Processes, "--sandboxd.lease=3s", replicas={"sandboxd": 2}, redis=False)
    client = tenant(stack)
    plugin = create(client, "n = 0\nfor i in range(context['turns']):\n    n += i\nresult = n",
                    limits={"cpu_ms": 60000, "wall_ms": 120000})
    made = [queue(client, plugin, {"turns": 3 * 10 ** 6}) for _ in range(30)]
    until(lambda: sum(read(client, one)["state"] == "RUN_ENDED" for one in made) >= 2, "some have ended")
    stack.by_name["sandboxd", 1].stop(signal.SIGKILL)
    ended = [until_ended(client, one) for one in made]
    assert {e["outcome"] for e in ended} == {"OK"} and max(e["attempts"] for e in ended) <= 2
    # The other one goes on, and a change reaches it.
    client.patch(f"/v1/plugins/{plugin}", {"code": "result = 'new'", "install": True})
    until(lambda: run(client, plugin, {"turns": 1})["result"] == "new", "the change is in force")


def test_a_run_is_cancelled_on_another_replica(own):
    stack = own(Processes, replicas={"sandboxd": 2}, redis=False)
    client = tenant(stack)
    plugin = create(client, SLOW, limits={"cpu_ms": 60000, "wall_ms": 60000})
    made = [queue(client, plugin) for _ in range(4)]
    for one in made:
        until_state(client, one, "RUN_UNDER_WAY")
        client.post(f"/v1/plugins/runs/{one}/cancel")
        assert until_ended(client, one)["outcome"] == "CANCELLED"


def test_who_waits_is_told_when_the_replica_dies(own):
    stack = own(Processes, redis=False)
    client = tenant(stack)
    plugin = create(client, SLOW, limits={"cpu_ms": 60000, "wall_ms": 60000})
    run_code(client, "result = 1")
    with concurrent.futures.ThreadPoolExecutor() as pool:
        waiting = pool.submit(stack.client(client.key).post, f"/v1/plugins/{plugin}/run")
        daemon = stack.by_name["sandboxd", 0]
        until(lambda: stack.metric(daemon, "corbel_sandbox_under_way") == 1, "it runs")
        daemon.stop(signal.SIGKILL)
        assert waiting.result(60).status_code == 503


# ---------------------------------------------------------------- triggers


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
    until(lambda: len(client.get("/v1/plugins/runs").json()["runs"]) == 3, "all runs are recorded")
    assert kinds(client, "sandbox.run.*") == ["sandbox.run.failed"]


# ---------------------------------------------------------------- the command line, and the rest


def corbel(stack, client, *words, code=0, stdin=None):
    ran = subprocess.run([str(BIN / "corbel"), *map(str, words)], capture_output=True, text=True, timeout=90, input=stdin,
                         env={"PATH": os.environ["PATH"], "HOME": "/nonexistent", "CORBEL_URL": stack.url, "CORBEL_API_KEY": client.key})
    assert ran.returncode == code, f"{words}: {ran.returncode}\n{ran.stdout}\n{ran.stderr}"
    return ran.stdout


def test_the_command_line_validates_installs_runs_and_follows(stack, tmp_path):
    client = tenant(stack)
    good, bad, context = tmp_path / "good.py", tmp_path / "bad.py", tmp_path / "ctx.json"
    good.write_text(DOUBLE)
    bad.write_text("x = 1\nimport socket\n")
    context.write_text('{"numbers": [1, 2, 3]}')
    assert corbel(stack, client, "plugins", "validate", good) == f"{good}: good\n"
    assert corbel(stack, client, "plugins", "validate", bad, code=6).startswith(f"{bad}:2:1: ")
    assert corbel(stack, client, "plugins", "validate", "-", stdin="x = (", code=6).startswith("-:1:")
    corbel(stack, client, "plugins", "validate", tmp_path / "none.py", code=2)
    made = json.loads(corbel(stack, client, "plugins", "create", "--name", "sums", "--code", f"@{good}", "--output", "json"))["id"]
    corbel(stack, client, "plugins", "install", made)
    ran = json.loads(corbel(stack, client, "plugins", "run", made, "--context", f"@{context}", "--output", "json"))
    assert ran["result"] == 12
    tried = json.loads(corbel(stack, client, "plugins", "try", "--code", "result = 1 + 1", "--output", "json"))
    assert tried["result"] == 2
    until(lambda: len(client.get("/v1/plugins/runs").json().get("runs", [])) == 2, "both runs are recorded")
    logs = corbel(stack, client, "plugins", "logs", made)
    assert "OK" in logs and "    adding 3\n" in logs
    follow = subprocess.Popen([str(BIN / "corbel"), "plugins", "logs", "--follow", "--output", "json"], stdout=subprocess.PIPE, text=True,
                              env={"PATH": os.environ["PATH"], "HOME": "/nonexistent", "CORBEL_URL": stack.url, "CORBEL_API_KEY": client.key})
    try:
        seen = [json.loads(follow.stdout.readline())["id"] for _ in range(2)]
        corbel(stack, client, "plugins", "run", made, "--context", '{"numbers": [5]}')
        last = json.loads(follow.stdout.readline())
        assert last["log"] == "adding 1\n" and last["id"] not in seen
    finally:
        follow.terminate()
        follow.wait()


def test_without_its_zygote_a_replica_does_all_but_run(own):
    stack = own(Serve, "--sandboxd.zygote=/nonexistent")
    client = tenant(stack)
    assert client.get("/v1/plugins").json() == {}
    refused = client.post("/v1/plugins/run", {"code": "result = 1"})
    assert refused.status_code == 503 and "Retry-After" in refused.headers
    told = client.get("/v1/plugins/isolation").json()
    assert not told["sufficient"] and "zygote" in told["reason"]


def test_isolation_is_reported(stack):
    told = tenant(stack).get("/v1/plugins/isolation").json()
    assert told["sufficient"] and {"seccomp", "rlimits"} <= {l["name"] for l in told["layers"] if l["state"] == "LAYER_ACTIVE"}


def test_a_crowd_of_hostile_runs_keeps_no_neighbour_from_running(own):
    stack = own(Serve)
    hostile, honest = tenant(stack), tenant(stack)
    plugin = create(hostile, SLOW, limits={"cpu_ms": 60000, "wall_ms": 3000})
    run_code(honest, "result = 1")
    for _ in range(100):
        queue(hostile, plugin)
    until(lambda: hostile.get("/v1/plugins/runs", params={"state": "RUN_UNDER_WAY"}).json().get("runs"), "hostile runs are under way")
    begin = time.monotonic()
    for n in range(20):
        assert run_code(honest, f"result = {n}")["result"] == n
    spent = time.monotonic() - begin
    # Behind the crowd these would wait for some minutes.
    assert spent < 60 and hostile.get("/v1/plugins/statistics").json()["queued"] > 0
