"""Who calls the ingress, how much they may, and what a repeated call gets."""
import concurrent.futures
import re
import time

import pytest
from conftest import needs
from raw import Raw, assert_problem
from stack import Client, Processes, Serve, Stopwatch, postgres_bin, until
from wire import Wire

# ---- keys and their revocation ----


@pytest.fixture(scope="module")
def three_ingresses():
    """One that hears accountd, one that hears it over a wire, and one that never does."""
    needs(*Processes.DAEMONS)
    if not postgres_bin():
        pytest.skip("no PostgreSQL")
    wires = []

    def over_a_wire(stack):
        path = stack.directory / "run" / "wire.pub"
        wires.append(Wire(path, stack.directory / "run" / "accountd0.pub"))
        return [f"--pub.accountd=ipc://{path}"]

    def deaf(stack):
        return [f"--pub.accountd=ipc://{stack.directory}/run/nobody.pub", "--ingress.key_ttl=2s"]

    stack = Processes(replicas={"ingress": 3}, own={"ingress1": over_a_wire, "ingress2": deaf})
    stack.wires = wires
    yield stack
    stack.stop()
    for wire in wires:
        wire.stop()


def known_to(stack, ingress):
    """A new key that the ingress has verified, and its id."""
    key = stack.operator.post("/v1/keys", {"name": "short-lived", "scopes": ["keys.read"]}).json()
    client = Client(stack.url_of(ingress), key["secret"])
    assert client.get("/v1/keys").status_code == 200
    return client, key["key"]["id"]


def revoked(stack, key_id):
    assert stack.operator.post(f"/v1/keys/{key_id}/revoke").status_code == 200
    return Stopwatch()


def is_refused(client):
    return client.get("/v1/keys").status_code == 401


def test_a_revoked_key_is_refused_by_every_ingress_within_100_ms(three_ingresses):
    took = []
    for _ in range(10):
        here, key_id = known_to(three_ingresses, 0)
        there = Client(three_ingresses.url_of(1), here.key)
        assert not is_refused(there)
        watch = revoked(three_ingresses, key_id)
        until(lambda: is_refused(here) and is_refused(there), "both refuse it", 2)
        took.append(watch.calm_s())
    # One of ten may meet a machine that is busy with something else.
    assert sorted(took)[8] < 0.1, took


def test_an_ingress_that_hears_no_revocations_refuses_within_the_bound(three_ingresses):
    client, key_id = known_to(three_ingresses, 2)
    watch = revoked(three_ingresses, key_id)
    until(lambda: is_refused(client), "the key is refused", 5)
    assert watch.calm_s() < 2.5


def test_an_ingress_whose_news_fall_silent_asks_again(three_ingresses):
    client, key_id = known_to(three_ingresses, 1)
    three_ingresses.wires[0].hold()
    watch = revoked(three_ingresses, key_id)
    until(lambda: is_refused(client), "the key is refused", 10)
    assert watch.calm_s() < 6


def test_keys_that_were_good_lately_outlive_accountd_for_the_bound(own):
    stack = own(Processes, "--ingress.key_ttl=5s")
    client = stack.tenant(scopes=["limits.read"])
    stranger = stack.tenant(scopes=["limits.read"])
    seen = time.monotonic()
    assert client.get("/v1/limits").status_code == 200
    stack.by_name["accountd", 0].popen.kill()
    until(lambda: stranger.get("/v1/limits").status_code == 503, "accountd is missed", 5)
    # Longer than the silence that puts keys in doubt; an answer that comes later says nothing.
    while (status := client.get("/v1/limits").status_code) and time.monotonic() - seen < 4.5:
        assert status == 200
        time.sleep(0.1)
    until(lambda: client.get("/v1/limits").status_code == 503, "the key is no longer believed", 5)
    refused = client.get("/v1/limits")
    assert refused.status_code == 503 and int(refused.headers["Retry-After"]) >= 1
    # The log says for whom and why, though not once for each request of a second.
    assert re.search(r"request failed.*route=/v1/limits.*http_status=503", stack.by_name["ingress", 0].output())


def test_an_unknown_key_and_a_wrong_one_are_told_the_same(serve):
    good = serve.tenant().key
    texts = [good[:-7] + ("a" if good[-7] != "a" else "b") + good[-6:], "cb_live_nonsense"]
    answers = [serve.client(text).get("/v1/keys").json() for text in texts]
    for answer in answers:
        answer.pop("request_id")
    assert answers[0] == answers[1] and answers[0]["status"] == 401


def test_x_api_key_goes_before_authorization(serve):
    key = serve.tenant(scopes=["*"]).key
    for other in ("Basic dXNlcjpwYXNz", "Bearer of-another-api"):
        assert serve.client().get("/v1/keys", headers={"X-API-Key": key, "Authorization": other}).status_code == 200
    wrong = {"X-API-Key": "cb_live_nonsense", "Authorization": f"Bearer {key}"}
    assert serve.client().get("/v1/keys", headers=wrong).status_code == 401


def test_no_cache_may_keep_what_a_key_sees(serve):
    tenant = serve.tenant(scopes=["*"])
    for answer in (tenant.get("/v1/keys"), tenant.get("/v1/keys/key_none"), serve.client().get("/v1/keys")):
        assert answer.headers["Cache-Control"] == "no-store"
    assert "Cache-Control" not in serve.client().get("/openapi.json").headers


# ---- limits ----

STRING = r'"(?:[ !#-\[\]-~]|\\["\\])*"'
PARAMETERS = r"(?:;[a-z*][a-z0-9_.*-]*=[0-9]{1,15})*"


def structured(header):
    """A list of RFC 9651 whose items are strings with integer parameters: {name: {parameter: value}}."""
    assert re.fullmatch(rf"{STRING}{PARAMETERS}(?:, {STRING}{PARAMETERS})*", header), header
    items = re.findall(rf"({STRING})({PARAMETERS})", header)
    return {name[1:-1]: {k: int(v) for k, v in re.findall(r";([^=]+)=(\d+)", rest)} for name, rest in items}


def planned(stack, name, **limits):
    """A tenant whose plan has these limits of the API a minute."""
    made = stack.operator.post("/v1/plans", {"name": name, "limits": [
        {"resource": f"api.{cost}", "limit": units, "window_ms": 60000} for cost, units in limits.items()]})
    assert made.status_code == 201, made.text
    tenant = stack.tenant(plan=name, scopes=["*"])
    # Asked by the operator, since looking is a call that takes from the plan, too.
    look = {"tenant_id": tenant.tenant_id,
            "checks": [{"limit": f"api.{cost}", "key": "nobody", "plan": name} for cost in limits]}
    until(lambda: stack.operator.post("/v1/ratelimits/peek", look).status_code == 200, "ratelimitd knows the plan", 5)
    return tenant


def test_answers_tell_what_the_plan_leaves(serve):
    tenant = planned(serve, "told", read=60)
    first, second = (tenant.get("/v1/limits") for _ in range(2))
    policy, left = (structured(second.headers[h]) for h in ("RateLimit-Policy", "RateLimit"))
    assert policy == {"api.read": {"q": 60, "w": 60}}
    assert left["api.read"]["r"] == structured(first.headers["RateLimit"])["api.read"]["r"] - 1 == 58
    assert 0 <= left["api.read"].get("t", 0) <= 60
    assert not any(h.lower().startswith("x-ratelimit") for h in second.headers)


def test_beyond_the_plan_is_429_with_a_time_to_come_back(stack):
    tenant = planned(stack, "small", read=3)
    answers = [tenant.get("/v1/limits") for _ in range(5)]
    assert [a.status_code for a in answers] == [200] * 3 + [429] * 2
    refused = answers[-1]
    assert refused.headers["Content-Type"] == "application/problem+json"
    assert refused.json()["type"] == "https://iana.org/assignments/http-problem-types#quota-exceeded"
    assert refused.json()["violated-policies"] == ["api.read"]
    left = structured(refused.headers["RateLimit"])["api.read"]
    assert left["r"] == 0
    assert 0 < left["t"] <= int(refused.headers["Retry-After"]) <= 60


def test_what_one_tenant_uses_up_another_has(serve):
    tenant = planned(serve, "apart", read=2)
    other = serve.tenant(plan="apart", scopes=["*"])
    assert [tenant.get("/v1/limits").status_code for _ in range(3)] == [200, 200, 429]
    assert other.get("/v1/limits").status_code == 200


def test_a_changed_plan_is_in_force_within_two_seconds(serve):
    tenant = planned(serve, "moving", read=2)
    assert [tenant.get("/v1/limits").status_code for _ in range(3)] == [200, 200, 429]

    def change(resource, units, is_so, what):
        limits = [{"resource": resource, "limit": units, "window_ms": 60000}]
        assert serve.operator.patch("/v1/plans/moving", {"limits": limits}).status_code == 200
        until(lambda: is_so(tenant.get("/v1/limits")), what, 2)
    change("api.read", 1000, lambda answer: answer.status_code == 200, "the limit is raised")
    change("api.write", 1000, lambda answer: "RateLimit" not in answer.headers, "the limit is taken away")
    change("api.read", 1, lambda answer: answer.status_code == 429, "there is a limit again")


def test_the_older_headers_are_sent_when_asked_for(own):
    tenant = planned(own(Serve, "--ingress.x_ratelimit_headers=true"), "older", read=60)
    headers = tenant.get("/v1/limits").headers
    assert (headers["X-RateLimit-Limit"], headers["X-RateLimit-Remaining"]) == ("60", "59")
    assert 0 <= int(headers["X-RateLimit-Reset"]) <= 60


# ---- addresses ----


@pytest.fixture(scope="module")
def behind_proxies():
    stack = Serve("--ingress.anonymous_per_minute=2", "--ingress.trusted_proxies=127.0.0.0/8,10.0.0.0/8")
    yield stack
    stack.stop()


def statuses(stack, *forwarded):
    return [stack.client().get("/v1/keys", headers={"X-Forwarded-For": f}).status_code for f in forwarded]


def test_clients_behind_trusted_proxies_are_limited_each(behind_proxies):
    assert statuses(behind_proxies, *["192.0.2.1"] * 3) == [401, 401, 429]
    assert statuses(behind_proxies, "192.0.2.2", "192.0.2.2, 10.1.1.1", "192.0.2.2, 10.1.1.1, 127.0.0.9") == \
        [401, 401, 429]


def test_what_a_client_says_of_itself_is_not_believed(behind_proxies):
    assert statuses(behind_proxies, *[f"198.51.100.{i}, 192.0.2.3" for i in range(3)]) == [401, 401, 429]


def test_a_line_that_a_proxy_adds_counts_and_not_the_clients_own(behind_proxies):
    def status(number):
        with Raw(behind_proxies.port) as raw:
            raw.send("GET /v1/keys HTTP/1.1\r\nHost: corbel\r\n"
                     f"X-Forwarded-For: 198.51.100.{number}\r\nX-Forwarded-For: 192.0.2.9\r\n\r\n")
            return raw.answer().status
    assert [status(number) for number in range(3)] == [401, 401, 429]


def test_ipv6_counts_by_prefix_and_mapped_ipv4_as_ipv4(behind_proxies):
    assert statuses(behind_proxies, "2001:db8::1", "2001:db8::2", "2001:db8::ffff:3") == [401, 401, 429]
    assert statuses(behind_proxies, "2001:db8:1::1") == [401]
    assert statuses(behind_proxies, "192.0.2.4", "::ffff:192.0.2.4", "[::ffff:192.0.2.4]:77") == [401, 401, 429]


def test_without_trusted_proxies_forwarded_addresses_mean_nothing(own):
    stack = own(Serve, "--ingress.anonymous_per_minute=2")
    assert stack.operator.get("/v1/keys").status_code == 200
    assert statuses(stack, "192.0.2.1", "192.0.2.2", "192.0.2.3") == [401, 401, 429]
    assert stack.operator.get("/v1/keys").status_code == 200  # a key that is known does not suffer


# ---- repeated calls ----


@pytest.fixture
def tenant(stack):
    return stack.tenant(plan="unlimited", scopes=["*"])


def create(client, key, name="once"):
    return client.post("/v1/keys", {"name": name}, headers={"Idempotency-Key": key})


def test_a_repeated_post_gets_the_first_answer(tenant):
    first, again, quoted = create(tenant, "a-1"), create(tenant, "a-1"), create(tenant, '"a-1"')
    assert (first.status_code, again.status_code, quoted.status_code) == (201, 201, 201)
    assert first.json() == again.json() == quoted.json()
    assert sum(key["name"] == "once" for key in tenant.get("/v1/keys").json()["keys"]) == 1


def test_a_used_idempotency_key_with_another_body_is_422(tenant):
    assert create(tenant, "b-1").status_code == 201
    other = create(tenant, "b-1", name="other")
    assert other.status_code == 422
    assert other.json()["type"] == "/docs/problems#idempotency-key-reused"


def test_concurrent_twins_run_once(tenant):
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: create(tenant, "c-1"), range(8)))
    assert {a.status_code for a in answers} <= {201, 409}
    for answer in answers:
        if answer.status_code == 409:
            assert answer.json()["type"] == "/docs/problems#idempotency-in-progress"
            assert int(answer.headers["Retry-After"]) >= 1
    assert create(tenant, "c-1").status_code == 201
    assert sum(key["name"] == "once" for key in tenant.get("/v1/keys").json()["keys"]) == 1


def test_another_tenants_idempotency_keys_are_other_keys(stack, tenant):
    assert create(tenant, "d-1").json() != create(stack.tenant(scopes=["*"]), "d-1").json()


@pytest.mark.parametrize("key", ["", " ", "a b", "a" * 256, '""'])
def test_an_idempotency_key_that_is_none_is_400(serve, key):
    with Raw(serve.port) as raw:
        raw.send(f"POST /v1/keys HTTP/1.1\r\nHost: corbel\r\nAuthorization: Bearer {serve.admin_key}\r\n"
                 f"Idempotency-Key: {key}\r\nContent-Length: 2\r\n\r\n{{}}")
        assert_problem(raw.answer(), 400, "invalid-argument")
