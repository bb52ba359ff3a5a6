"""Tenants, users, plans, keys: their lives, and the walls between tenants."""
import signal

import pytest
from stack import Serve, until


@pytest.fixture
def tenant(stack):
    return stack.tenant(plan="unlimited", scopes=["*"])


def test_a_keys_secret_is_shown_once(tenant):
    made = tenant.post("/v1/keys", {"name": "backend", "scopes": ["keys.read"]})
    assert made.status_code == 201
    secret, key = made.json()["secret"], made.json()["key"]
    assert secret.startswith(key["start"] + "_")
    assert "secret" not in tenant.get(f"/v1/keys/{key['id']}").text
    assert secret not in tenant.get("/v1/keys").text


def test_a_key_gives_away_no_more_than_its_maker_has(stack):
    weak = stack.tenant(scopes=["keys.write"])
    answer = weak.post("/v1/keys", {"scopes": ["tenants.write"]})
    assert answer.status_code == 403
    assert answer.json()["errors"][0]["pointer"] == "/scopes/0"


def test_a_mistyped_key_is_refused(stack, tenant):
    for at in (10, 25, 40):
        wrong = tenant.key[:at] + ("A" if tenant.key[at] != "A" else "B") + tenant.key[at + 1:]
        assert stack.client(wrong).get("/v1/keys").status_code == 401


def test_rotation_leaves_both_keys_working_until_the_grace_ends(stack, tenant):
    old = tenant.post("/v1/keys", {"scopes": ["keys.read"], "prefix": "my"}).json()
    new = tenant.post(f"/v1/keys/{old['key']['id']}/rotate", {"grace_ms": 60000})
    assert new.status_code == 201
    assert new.json()["secret"].startswith("my_")
    for secret in (old["secret"], new.json()["secret"]):
        assert stack.client(secret).get("/v1/keys").status_code == 200
    shown = tenant.get(f"/v1/keys/{old['key']['id']}").json()
    assert shown["state"] == "ROTATED" and shown["rotated_to"] == new.json()["key"]["id"]
    ended = tenant.post(f"/v1/keys/{new.json()['key']['id']}/rotate", {"grace_ms": 0})
    assert ended.status_code == 201
    until(lambda: stack.client(new.json()["secret"]).get("/v1/keys").status_code == 401, "the grace ends", 5)


def test_disabling_enabling_and_revoking(stack, tenant):
    made = tenant.post("/v1/keys", {"scopes": ["keys.read"]}).json()
    path, client = f"/v1/keys/{made['key']['id']}", stack.client(made["secret"])
    tenant.patch(path, {"disabled": True})
    until(lambda: client.get("/v1/keys").status_code == 401, "the key is disabled", 2)
    tenant.patch(path, {"disabled": False})
    until(lambda: client.get("/v1/keys").status_code == 200, "the key is enabled", 8)
    first = tenant.post(path + "/revoke").json()
    again = tenant.post(path + "/revoke").json()
    assert first["state"] == "REVOKED" and first["revoked_at"] == again["revoked_at"]
    assert tenant.patch(path, {"name": "late"}).status_code == 409


def test_an_expiry_in_the_past_is_named(tenant):
    answer = tenant.post("/v1/keys", {"expires_at": "2020-01-01T00:00:00Z"})
    assert answer.status_code == 400
    assert answer.json()["errors"][0]["pointer"] == "/expires_at"


def test_verify_tells_whose_a_key_is(stack, tenant):
    key = tenant.post("/v1/keys", {"scopes": ["ratelimits.check"], "metadata": {"team": "a"}}).json()
    good = tenant.post("/v1/keys/verify", {"key": key["secret"], "scope": "ratelimits.check"}).json()
    assert good["valid"] and good["tenant_id"] == tenant.tenant_id and good["metadata"] == {"team": "a"}
    assert tenant.post("/v1/keys/verify", {"key": key["secret"], "scope": "keys.write"}).json()["reason"] == "missing_scope"
    other = stack.tenant(scopes=["*"])
    assert other.post("/v1/keys/verify", {"key": key["secret"]}).json() == {"valid": False, "reason": "unknown"}


def test_suspending_a_tenant_stops_its_keys(stack, tenant):
    stack.operator.patch(f"/v1/tenants/{tenant.tenant_id}", {"suspended": True})
    until(lambda: tenant.get("/v1/keys").status_code == 401, "the tenant is suspended", 2)


def test_a_plan_in_use_cannot_be_deleted(stack):
    assert stack.operator.delete("/v1/plans/unlimited").status_code == 409
    made = stack.operator.post("/v1/plans", {"name": "trial", "limits": [
        {"resource": "charts", "limit": 1, "window_ms": 1000}, {"resource": "charts", "limit": 2, "window_ms": 1000}]})
    assert made.status_code == 400 and made.json()["errors"][0]["pointer"] == "/limits/1/resource"


def test_lists_are_paged(stack, tenant):
    for i in range(5):
        assert tenant.post("/v1/users", {"email": f"u{i}@example.com"}).status_code == 201
    assert tenant.post("/v1/users", {"email": "u0@example.com"}).status_code == 409
    seen, token = [], None
    while True:
        page = tenant.get("/v1/users?page_size=2" + (f"&page_token={token}" if token else "")).json()
        seen += [u["email"] for u in page["users"]]
        token = page.get("next_page_token")
        if not token:
            break
    assert seen == [f"u{i}@example.com" for i in (4, 3, 2, 1, 0)]
    assert tenant.get("/v1/users?page_token=nonsense").status_code == 400


def test_nulls_clear_and_absence_keeps(tenant):
    user = tenant.post("/v1/users", {"email": "n@example.com", "name": "N", "metadata": {"a": "b"}}).json()
    kept = tenant.patch(f"/v1/users/{user['id']}", {"role": "ADMIN"}).json()
    assert kept["name"] == "N" and kept["metadata"] == {"a": "b"} and kept["role"] == "ADMIN"
    cleared = tenant.patch(f"/v1/users/{user['id']}", {"name": None, "metadata": None}).json()
    assert "name" not in cleared and "metadata" not in cleared


def test_no_method_reaches_another_tenants_things(stack, tenant):
    """Walks every path of the contract with the ids of another tenant."""
    mine = {"keys": tenant.post("/v1/keys", {"scopes": ["keys.read"]}).json()["key"]["id"],
            "users": tenant.post("/v1/users", {"email": "x@example.com"}).json()["id"],
            "limits": tenant.post("/v1/limits", {"name": "mine", "strategy": "GCRA", "limit": 1,
                                                 "window_ms": 1000}).json()["id"],
            "tenants": tenant.tenant_id}
    other = stack.tenant(plan="unlimited", scopes=["*"])
    paths = stack.operator.get("/openapi.json").json()["paths"]
    walked = 0
    for path, verbs in paths.items():
        if "{" not in path or path.split("/")[2] not in mine:
            continue
        noun = path.split("/")[2]
        url = path.replace("{id}", mine[noun]).replace("{tenant_id}", mine["tenants"])
        for verb in verbs:
            body = {"plan": "free"} if verb == "put" else {}
            answer = other.request(verb.upper(), url, **({"json": body} if verb in ("post", "put", "patch") else {}))
            assert answer.status_code in (403, 404), f"{verb} {url}: {answer.status_code} {answer.text}"
            walked += 1
    assert walked >= 12
    for path in ("/v1/keys", "/v1/users", "/v1/limits", "/v1/usage"):
        assert other.get(f"{path}?tenant_id={mine['tenants']}").status_code == 403
    assert other.post("/v1/users", {"email": "y@example.com", "tenant_id": mine["tenants"]}).status_code == 403


def test_usage_is_counted_by_key_and_day(tenant):
    for _ in range(3):
        tenant.get("/v1/users")
    def seen():
        usage = tenant.get("/v1/usage").json().get("usage", [])
        return usage and usage[0]["key_id"] == tenant.key_id and usage[0]["calls"] >= 3
    until(seen, "the calls are counted", 10)
    until(lambda: "last_used_at" in tenant.get(f"/v1/keys/{tenant.key_id}").json(), "the key's last use is known", 5)


def test_what_was_acknowledged_survives_kill_9(own):
    stack = own(Serve)
    made = [stack.tenant(name=f"t{i}", scopes=["*"]) for i in range(5)]
    stack.serve.popen.kill()
    stack.serve.popen.wait()
    stack.restart(signal.SIGKILL)
    for tenant in made:
        assert tenant.get("/v1/keys").status_code == 200


def test_only_a_tenant_that_changes_its_state_is_told_of_as_suspended_or_reactivated(stack):
    tenant = stack.operator.post("/v1/tenants", {"name": "Told"}).json()["id"]
    for change in {"suspended": True}, {"suspended": True}, {"suspended": False}, {"suspended": False, "name": "Told of"}:
        assert stack.operator.patch(f"/v1/tenants/{tenant}", change).status_code == 200

    def types():
        told = stack.operator.get("/v1/events", params={"type": "tenant.*", "subject": tenant, "after": 0})
        return [event["type"].removeprefix("tenant.") for event in told.json().get("events", [])]
    until(lambda: types() == ["created", "suspended", "updated", "reactivated", "updated"], "all five are told")
