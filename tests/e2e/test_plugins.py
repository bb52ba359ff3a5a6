"""Plugins over HTTP and the command line: runs that are waited for, versions, isolation."""
import json
import os
import subprocess
import time

import pytest
from plugin_calls import DOUBLE, SCOPES, SLOW, corbel, create, kinds, queue, run, run_code, tenant, until_ended
from stack import BIN, Serve, until


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


# ---------------------------------------------------------------- the command line, and the rest


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
