"""The way of a newcomer: a key, a tenant, a limit, and what the answers look like."""
import re
import signal
import subprocess

import pytest
from stack import BIN, Serve


@pytest.fixture
def tenant(stack):
    return stack.tenant(plan="free", scopes=["*"])


def charts_limit(client, limit=3):
    made = client.post("/v1/limits", {"name": "charts", "strategy": "FIXED_WINDOW", "limit": limit,
                                      "window_ms": 60000})
    assert made.status_code == 201, made.text
    return made.json()


def check(client, key="user-42"):
    return client.post("/v1/ratelimits/check", {"checks": [{"limit": "charts", "key": key}]})


def test_a_tenants_key_is_limited_as_its_limit_says(tenant):
    charts_limit(tenant, limit=3)
    answers = [check(tenant).json() for _ in range(5)]
    assert [a["allowed"] for a in answers] == [True, True, True, False, False]
    assert answers[0]["limits"][0]["remaining"] == 2
    assert answers[3]["limits"][0]["retry_after_ms"] <= 60000


def test_an_answer_carries_rate_limit_headers(tenant):
    charts_limit(tenant)
    answer = check(tenant)
    assert answer.status_code == 200
    assert "RateLimit" in answer.headers and "RateLimit-Policy" in answer.headers
    assert answer.headers["X-Request-Id"]


def test_no_key_and_a_wrong_key_are_401_problems(stack):
    for key in (None, "cb_live_nonsense"):
        answer = stack.client(key).get("/v1/tenants")
        assert answer.status_code == 401
        assert answer.headers["Content-Type"].startswith("application/problem+json")
        assert answer.json()["status"] == 401


def test_a_missing_scope_is_a_403_problem(stack):
    answer = stack.tenant(scopes=["ratelimits.check"]).get("/v1/keys")
    assert answer.status_code == 403
    assert answer.headers["Content-Type"].startswith("application/problem+json")


def test_bad_fields_are_all_named(tenant):
    answer = tenant.post("/v1/limits", {"name": "No!", "strategy": "NONSENSE", "surplus": 1})
    assert answer.status_code == 400
    pointers = {error["pointer"] for error in answer.json()["errors"]}
    assert any(p.endswith("/strategy") for p in pointers) and any(p.endswith("/surplus") for p in pointers)


def test_a_post_with_an_idempotency_key_runs_once(stack):
    headers = {"Idempotency-Key": "quickstart-1"}
    first = stack.operator.post("/v1/tenants", {"name": "Once"}, headers=headers)
    again = stack.operator.post("/v1/tenants", {"name": "Once"}, headers=headers)
    other = stack.operator.post("/v1/tenants", {"name": "Twice"}, headers=headers)
    assert first.status_code == 201
    assert again.status_code == 201 and again.json() == first.json()
    assert other.status_code == 422


def test_a_revoked_key_stops_working(stack):
    tenant = stack.tenant(scopes=["keys.*"])
    assert tenant.get("/v1/keys").status_code == 200
    revoked = stack.operator.post(f"/v1/keys/{tenant.key_id}/revoke")
    assert revoked.status_code == 200
    from stack import until
    until(lambda: tenant.get("/v1/keys").status_code == 401, "the key is refused", 2)


def test_healthz_readyz_and_openapi_need_no_key(stack):
    for path in ("/healthz", "/readyz", "/openapi.json"):
        assert stack.client().get(path).status_code == 200


def test_serve_prints_three_calls_that_work_when_pasted(own):
    stack = own(Serve)
    shown = stack.serve.output()
    start = shown.index("export CORBEL_API_KEY=")
    lines = shown[start:].splitlines()
    script = "\n".join(line.strip() for line in lines if not re.match(r"^\S", line) or "export" in line)
    ran = subprocess.run(["bash", "-euo", "pipefail", "-c", script], capture_output=True, text=True, timeout=60)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert '"allowed":true' in ran.stdout.replace(" ", "")
    assert re.search(r"^ratelimit:", ran.stdout, re.I | re.M), ran.stdout


def test_serve_keeps_its_state_and_shows_the_key_once(own):
    stack = own(Serve)
    tenant = stack.tenant(scopes=["*"])
    charts_limit(tenant)
    assert stack.restart() == 0
    assert "first admin key" not in stack.serve.output()
    assert tenant.get("/v1/limits").json()["limits"][0]["name"] == "charts"
    assert stack.restart(signal.SIGINT) == 0


def test_two_serves_on_one_directory_refuse_clearly(own):
    stack = own(Serve)
    second = subprocess.run([BIN / "corbel", "serve", f"--data={stack.data}", "--ingress.listen=127.0.0.1:0"],
                            capture_output=True, text=True, timeout=30)
    assert second.returncode == 1
    assert "another corbel serve uses" in second.stderr


def test_everything_ends_with_0_on_sigterm(stack, own):
    fresh = own(type(stack))
    assert fresh.is_ready()
    codes = fresh.stop()
    fresh.stop = lambda: codes
    assert {name: code for name, code in codes.items() if not name.startswith(("postgres", "redis"))
            and code != 0} == {}
