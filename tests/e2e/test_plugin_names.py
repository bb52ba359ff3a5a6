"""Plugins by their names instead of their ids."""
import json

from plugin_calls import corbel, create, queue, run, tenant, until_ended


def test_a_name_does_wherever_an_id_does(stack):
    client = tenant(stack)
    plugin = create(client, "result = 'one'", "greeting")
    assert client.get("/v1/plugins/greeting").json()["id"] == plugin
    assert client.patch("/v1/plugins/greeting", {"code": "result = 'two'"}).json()["latest_version"] == 2
    assert client.post("/v1/plugins/greeting/install").json()["installed_version"] == 2
    assert run(client, "greeting")["result"] == run(client, plugin)["result"] == "two"
    assert client.post("/v1/plugins/greeting/rollback").json()["installed_version"] == 1
    assert len(client.get("/v1/plugins/greeting/versions").json()["versions"]) == 2
    assert client.get("/v1/plugins/greeting/versions/2").json()["code"] == "result = 'two'"
    assert client.post("/v1/plugins/greeting/disable").json()["disabled"]
    assert client.post("/v1/plugins/greeting/run").status_code == 409
    assert not client.post("/v1/plugins/greeting/enable").json()["disabled"]
    queued = queue(client, "greeting")
    assert until_ended(client, queued)["plugin_id"] == plugin
    assert queued in [r["id"] for r in client.get("/v1/plugins/runs", params={"plugin_id": "greeting"}).json()["runs"]]
    assert client.get("/v1/plugins/statistics", params={"plugin_id": "greeting"}).json()["runs"] >= 1
    assert client.delete("/v1/plugins/greeting").status_code == 204
    for path in ("/greeting", "/runs?plugin_id=greeting", "/statistics?plugin_id=greeting"):
        assert client.get(f"/v1/plugins{path}").status_code == 404, path
    assert client.post("/v1/plugins/greeting/run").status_code == 404


def test_a_change_by_name_is_in_force_at_once_for_who_runs_it_by_id(stack):
    client = tenant(stack)
    plugin = create(client, "result = 1", "changing")
    assert run(client, plugin)["result"] == 1
    client.patch("/v1/plugins/changing", {"code": "result = 2", "install": True})
    assert run(client, plugin)["result"] == 2


def test_a_name_is_that_of_the_tenants_own_plugin_before_a_shared_one(stack):
    client, other = tenant(stack), tenant(stack)
    name = f"named-{client.tenant_id[-8:]}"
    private = f"private-{client.tenant_id[-8:]}"
    shared = create(stack.operator, "result = 'shared'", name, shared=True)
    create(stack.operator, "result = 'private'", private)
    assert client.get(f"/v1/plugins/{private}").status_code == 404
    assert client.get(f"/v1/plugins/{name}").json()["id"] == shared
    assert client.post(f"/v1/plugins/{name}/run").status_code == 404  # it has to be installed
    assert client.patch(f"/v1/plugins/{name}", {"description": "mine"}).status_code == 404
    copy = client.post(f"/v1/plugins/{name}/install").json()
    assert (copy["source_id"], copy["tenant_id"]) == (shared, client.tenant_id)
    assert client.get(f"/v1/plugins/{name}").json()["id"] == copy["id"]
    assert run(client, name)["plugin_id"] == copy["id"]
    assert client.delete(f"/v1/plugins/{name}").status_code == 204
    assert other.get(f"/v1/plugins/{name}").json()["id"] == shared


def test_the_command_line_takes_names(stack):
    client = tenant(stack)
    create(client, "print('said')\nresult = context['n'] + 1", "increment")
    ran = json.loads(corbel(stack, client, "plugins", "run", "increment", "--context", '{"n": 1}', "--output", "json"))
    assert ran["result"] == 2
    assert json.loads(corbel(stack, client, "plugins", "get", "increment", "--output", "json"))["name"] == "increment"
    corbel(stack, client, "plugins", "logs", "increment")
    corbel(stack, client, "plugins", "run", "decrement", code=4)
