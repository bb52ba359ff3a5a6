"""Limits over HTTP: strategies, all or nothing, replicas, and a Redis that goes away."""
import collections
import concurrent.futures
import contextlib
import threading
import time

import pytest
from stack import Processes, Serve, Stopwatch, until

STRATEGIES = ["FIXED_WINDOW", "SLIDING_LOG", "SLIDING_COUNTER", "TOKEN_BUCKET", "LEAKY_METER", "LEAKY_QUEUE", "GCRA",
              "ADAPTIVE"]
DAY_MS = 86400000


@pytest.fixture
def tenant(stack):
    return stack.tenant(plan="unlimited", scopes=["*"])


def limit(client, name, strategy="FIXED_WINDOW", units=5, window_ms=DAY_MS, **fields):
    made = client.post("/v1/limits", {"name": name, "strategy": strategy, "limit": units, "window_ms": window_ms,
                                      **fields})
    assert made.status_code == 201, made.text
    return made.json()


def defined_everywhere(client, name, count=40):
    """Definitions reach every replica within a second: waits until many looks in a row find it."""
    def look():
        return all(client.post("/v1/ratelimits/peek", {"checks": [{"limit": name, "key": f"probe-{i}"}]}).status_code
                   == 200 for i in range(count))
    until(look, f"limit {name} is known everywhere", 10)


def check(client, *checks):
    """Each check is (limit, key, cost); without a key (None) it is the caller's own."""
    fields = [{k: v for k, v in zip(("limit", "key", "cost"), c) if v is not None} for c in checks]
    return client.post("/v1/ratelimits/check", {"checks": fields})


def state_of(client, name):
    """The state of the limit for the key "k", of which nothing is taken; empty while it cannot be told."""
    return check(client, (name, "k", 0)).json().get("limits", [{}])[0]


def hammer(client, name, key, threads=8, each=40):
    def one(_):
        return sum(check(client, (name, key)).json().get("allowed", False) for _ in range(each))
    with concurrent.futures.ThreadPoolExecutor(threads) as pool:
        return sum(pool.map(one, range(threads)))


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_limit_admits_what_it_says(tenant, strategy):
    limit(tenant, "five", strategy, 5)
    defined_everywhere(tenant, "five")
    assert [check(tenant, ("five", "k")).json()["allowed"] for _ in range(7)] == [True] * 5 + [False] * 2


def test_several_limits_are_taken_together_or_not_at_all(tenant):
    limit(tenant, "wide", units=10)
    limit(tenant, "narrow", units=2)
    defined_everywhere(tenant, "narrow")
    both = [check(tenant, ("wide", "k"), ("narrow", "k")).json()["allowed"] for _ in range(4)]
    assert both == [True, True, False, False]
    assert check(tenant, ("wide", "k", 0)).json()["limits"][0]["remaining"] == 8


def test_a_cost_that_never_fits_is_refused_for_good(tenant):
    limit(tenant, "small", "TOKEN_BUCKET", 5)
    defined_everywhere(tenant, "small")
    answer = check(tenant, ("small", "k", 6))
    state = answer.json()["limits"][0]
    assert not state["allowed"] and state["impossible"] and "retry_after_ms" not in state
    assert "Retry-After" not in answer.headers


def test_units_can_be_given_back_and_forgotten(tenant):
    limit(tenant, "five", units=5)
    defined_everywhere(tenant, "five")
    check(tenant, ("five", "k", 5))
    back = tenant.post("/v1/ratelimits/give-back", {"checks": [{"limit": "five", "key": "k", "cost": 2}]})
    assert back.json()["limits"][0]["remaining"] == 2
    reset = tenant.post("/v1/ratelimits/reset", {"limit": "five", "key": "k"})
    assert reset.status_code == 200
    assert check(tenant, ("five", "k", 5)).json()["allowed"]


def test_a_shadow_limit_counts_and_admits(tenant):
    limit(tenant, "shadow", units=1, shadow=True)
    defined_everywhere(tenant, "shadow")
    answers = [check(tenant, ("shadow", "k")).json() for _ in range(3)]
    assert all(a["allowed"] for a in answers)
    assert [a["limits"][0].get("shadow_refused", False) for a in answers] == [False, True, True]


def test_an_unknown_limit_is_named(tenant):
    answer = check(tenant, ("nowhere", "k"))
    assert answer.status_code == 404
    assert answer.json()["errors"][0]["pointer"] == "/checks/0/limit"


def test_another_tenants_limits_do_not_exist(stack, tenant):
    made = limit(tenant, "mine")
    other = stack.tenant(plan="unlimited", scopes=["*"])
    for call in (other.get, other.delete):
        assert call(f"/v1/limits/{made['id']}").status_code == 404
    assert other.get("/v1/limits").json().get("limits", []) == []
    assert check(other, ("mine", "k")).status_code == 404


def test_a_changed_limit_keeps_its_count(tenant):
    made = limit(tenant, "moving", units=5)
    defined_everywhere(tenant, "moving")
    check(tenant, ("moving", "k", 3))
    assert tenant.patch(f"/v1/limits/{made['id']}", {"limit": 10}).status_code == 200
    until(lambda: state_of(tenant, "moving").get("remaining") == 7, "the new limit is in force", 5)


def test_a_plans_limit_follows_the_subscription(stack):
    tenant = stack.tenant(plan="free", scopes=["*"])
    until(lambda: check(tenant, ("charts", "k", 0)).status_code == 200, "the plan's limits are known", 10)
    assert check(tenant, ("charts", "k", 50)).json()["allowed"]
    assert not check(tenant, ("charts", "k")).json()["allowed"]
    moved = stack.operator.put(f"/v1/tenants/{tenant.tenant_id}/subscription", {"plan": "basic"})
    assert moved.status_code == 200
    until(lambda: state_of(tenant, "charts").get("remaining") == 150, "the new plan is in force", 5)


def test_long_windows_survive_a_restart(own):
    stack = own(Serve)
    tenant = stack.tenant(plan="unlimited", scopes=["*"])
    limit(tenant, "daily", units=5)
    check(tenant, ("daily", "k", 3))
    assert stack.restart() == 0
    assert check(tenant, ("daily", "k", 0)).json()["limits"][0]["remaining"] == 2


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_four_replicas_on_redis_admit_exactly_the_limit(four_on_redis, strategy):
    tenant = four_on_redis.tenant(plan="unlimited", scopes=["*"])
    limit(tenant, "exact", strategy, 100)
    defined_everywhere(tenant, "exact")
    assert hammer(tenant, "exact", "hot") == 100


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_four_replicas_in_memory_admit_exactly_the_limit(four_in_memory, strategy):
    tenant = four_in_memory.tenant(plan="unlimited", scopes=["*"])
    limit(tenant, "exact", strategy, 100)
    defined_everywhere(tenant, "exact")
    assert hammer(tenant, "exact", "hot") == 100


def test_redis_that_goes_away_leaves_each_limits_own_policy(own):
    stack = own(Processes)
    tenant = stack.tenant(plan="unlimited", scopes=["*"])
    for name, mode in (("share", "LOCAL_SHARE"), ("open", "FAIL_OPEN"), ("closed", "FAIL_CLOSED")):
        limit(tenant, name, units=5, on_failure=mode)
    defined_everywhere(tenant, "closed")
    assert check(tenant, ("closed", "k")).json()["allowed"]
    stack.redis.process.popen.kill()
    stack.redis.process.popen.wait()
    watch = Stopwatch()
    refused = check(tenant, ("closed", "k"))
    assert refused.status_code == 200 and not refused.json()["allowed"]
    assert refused.json()["limits"][0]["degraded"]
    assert all(check(tenant, ("open", "k")).json()["allowed"] for _ in range(10))
    assert [check(tenant, ("share", "k")).json()["allowed"] for _ in range(7)] == [True] * 5 + [False] * 2
    assert watch.calm_s() < 5
    stack.redis.start()
    until(lambda: not check(tenant, ("closed", "k2")).json().get("limits", [{"degraded": True}])[0].get("degraded"), "Redis decides again", 3)


def key_of(stack, tenant, scopes, *limits):
    """A client with a further key of the tenant, which has limits of its own."""
    made = stack.operator.post("/v1/keys", {"tenant_id": tenant.tenant_id, "scopes": scopes, "limits": [
        {"resource": name, "limit": units, "window_ms": DAY_MS, "strategy": strategy}
        for name, units, strategy in limits]})
    assert made.status_code == 201, made.text
    client = stack.client(made.json()["secret"])
    client.key_id = made.json()["key"]["id"]
    return client


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_keys_own_limit_wins_over_its_plans(stack, strategy):
    tenant = stack.tenant(plan="free", scopes=["*"])
    small = key_of(stack, tenant, ["ratelimits.check"], ("charts", 3, strategy))
    assert [check(small, ("charts", None)).json()["allowed"] for _ in range(5)] == [True] * 3 + [False] * 2
    until(lambda: check(tenant, ("charts", "k", 0)).status_code == 200, "the plan's limits are known", 10)
    assert check(tenant, ("charts", None, 0)).json()["limits"][0]["quota"] == 50


def test_a_limit_that_only_a_key_has_is_no_other_keys(stack):
    tenant = stack.tenant(plan="free", scopes=["*"])
    small = key_of(stack, tenant, ["ratelimits.check"], ("exports", 2, "FIXED_WINDOW"))
    assert [check(small, ("exports", "k")).json()["allowed"] for _ in range(3)] == [True, True, False]
    assert check(tenant, ("exports", "k")).status_code == 404


@pytest.mark.parametrize("strategy", ["FIXED_WINDOW", "TOKEN_BUCKET", "SLIDING_LOG"])
def test_a_keys_own_limit_holds_for_corbels_own_api(stack, strategy):
    tenant = stack.tenant(plan="unlimited", scopes=["*"])
    small = key_of(stack, tenant, ["limits.read"], ("api.read", 4, strategy))
    answers = [small.get("/v1/limits") for _ in range(6)]
    assert [a.status_code for a in answers] == [200] * 4 + [429] * 2
    assert int(answers[-1].headers["Retry-After"]) > 60
    assert '"api.read";q=4' in answers[0].headers["RateLimit-Policy"]
    assert tenant.get("/v1/limits").status_code == 200


def test_a_changed_limit_of_a_key_is_in_force_within_a_second(stack):
    tenant = stack.tenant(plan="unlimited", scopes=["*"])
    reads = key_of(stack, tenant, ["limits.read"], ("api.read", 1, "FIXED_WINDOW"))
    draws = key_of(stack, tenant, ["ratelimits.check"], ("charts", 1, "FIXED_WINDOW"))
    assert [reads.get("/v1/limits").status_code for _ in range(2)] == [200, 429]
    assert [check(draws, ("charts", "k")).json()["allowed"] for _ in range(2)] == [True, False]
    for client, name in ((reads, "api.read"), (draws, "charts")):
        raised = {"limits": [{"resource": name, "limit": 20, "window_ms": DAY_MS}]}
        assert stack.operator.patch(f"/v1/keys/{client.key_id}", raised).status_code == 200
    until(lambda: check(draws, ("charts", "k")).json().get("allowed"), "the key's new limit is in force", 2)
    until(lambda: reads.get("/v1/limits").status_code == 200, "the key's new limit of the API is in force", 2)


def test_only_operators_give_keys_limits_of_their_own(stack, tenant):
    limits = [{"resource": "charts", "limit": 10**9, "window_ms": 1000}]
    refused = tenant.post("/v1/keys", {"limits": limits})
    assert refused.status_code == 403 and refused.json()["errors"][0]["pointer"] == "/limits"
    small = key_of(stack, tenant, ["*"], ("api.write", 100, "FIXED_WINDOW"))
    for body in ({"limits": limits}, {"limits": None}):
        assert small.patch(f"/v1/keys/{small.key_id}", body).status_code == 403


@pytest.mark.parametrize("name", ["api.read", "plugins.runs"])
def test_only_operators_touch_the_limits_of_corbels_own_api(tenant, name):
    body = {"name": name, "strategy": "FIXED_WINDOW", "limit": 10**9, "window_ms": 1000}
    assert tenant.post("/v1/limits", body).status_code == 403
    pair = {"limit": name, "key": tenant.tenant_id}
    assert tenant.post("/v1/ratelimits/reset", pair).status_code in (403, 404)
    assert tenant.post("/v1/ratelimits/give-back", {"checks": [{**pair, "cost": 5}]}).status_code in (403, 404)


def test_a_gateway_that_asks_for_a_key_holds_it_to_its_own_limit(own):
    stack = own(Serve, "--ingress.forward_limits=* /charts* = charts")
    tenant = stack.tenant(plan="free", scopes=["*"])
    small = key_of(stack, tenant, ["ratelimits.check"], ("charts", 2, "TOKEN_BUCKET"))
    asked = {"X-Original-Method": "GET", "X-Original-URI": "/charts/1"}
    assert [small.get("/v1/auth/forward", headers=asked).status_code for _ in range(3)] == [200, 200, 429]


@pytest.mark.parametrize("kind", ["four_in_memory", "four_on_redis"])
def test_statistics_are_of_all_replicas(kind, request):
    stack = request.getfixturevalue(kind)
    tenant = stack.tenant(plan="unlimited", scopes=["*"])
    limit(tenant, "spread", units=2)
    defined_everywhere(tenant, "spread")
    keys = [f"user-{i}" for i in range(20)]
    for key in keys + keys[:3] + keys[:1]:
        assert check(tenant, ("spread", key)).status_code == 200

    def all_answer():
        got = tenant.get("/v1/ratelimits/statistics").json()
        return got if (got["replicas"], got.get("missing", 0)) == (4, 0) else None
    sums = until(all_answer, "all replicas answer", 10)["limits"][0]
    assert (sums["total"], sums["throttled"]) == (24, 1)
    top = {k["key"]: k["total"] for k in sums["top_keys"]}
    assert len(top) == 20 and sums["top_keys"][0]["key"] == "user-0" and top["user-0"] == 3
    assert [top[k] for k in ("user-1", "user-2", "user-3")] == [2, 2, 1]


def test_statistics_say_which_replicas_are_missing(own):
    stack = own(Processes, replicas={"ratelimitd": 2}, redis=False)
    stack.by_name["ratelimitd", 1].popen.kill()

    def numbers():
        got = stack.operator.get("/v1/ratelimits/statistics").json()
        return got.get("replicas"), got.get("missing", 0)
    until(lambda: numbers() == (1, 1), "one replica answers and one is missing", 10)
    stack.start_daemon("ratelimitd", 1)
    until(lambda: numbers() == (2, 0), "both answer again", 10)


class Traffic:
    """Checks of many keys by several threads until stop(): admissions by key, and when calls that failed began."""

    def __init__(self, stack, client, name, keys, threads=4):
        self.admitted = collections.Counter()
        self.failed_at = []
        self.watch = None  # since the last change, of which calls may fail
        self.failed_s = []  # calm time since then, of calls that failed when they began
        self.lock = threading.Lock()
        self.is_over = threading.Event()
        clients = [stack.client(client.key) for _ in range(threads)]
        self.threads = [threading.Thread(target=self.run, args=(c, name, keys)) for c in clients]
        for thread in self.threads:
            thread.start()

    def run(self, client, name, keys):
        while not self.is_over.is_set():
            for key in keys:
                began, since_s = time.monotonic(), self.watch.calm_s() if self.watch else 0
                answer = check(client, (name, key))
                with self.lock:
                    if answer.status_code != 200:
                        assert answer.status_code in (503, 504), answer.text
                        self.failed_at.append(began)
                        self.failed_s.append(since_s)
                    elif answer.json()["allowed"]:
                        self.admitted[key] += 1

    def stop(self):
        self.is_over.set()
        for thread in self.threads:
            thread.join()

    def is_whole_again(self, since):
        """No call that began within the last half second has failed."""
        last = max([t for t in self.failed_at if t >= since], default=since)
        return time.monotonic() - last > 0.5


@contextlib.contextmanager
def a_replica_killed_and_back(stack, units, keys, used):
    """Traffic on a limit while one of four replicas is killed, once so much is `used` of all keys, and comes
    back; yields in between."""
    tenant = stack.tenant(plan="unlimited", scopes=["*"])
    limit(tenant, "hit", units=units)
    defined_everywhere(tenant, "hit")
    traffic = Traffic(stack, tenant, "hit", keys)
    try:
        until(lambda: sum(traffic.admitted.values()) >= used, "enough is used", 20)
        traffic.watch = Stopwatch()
        stack.by_name["ratelimitd", 2].popen.kill()
        killed = time.monotonic()
        until(lambda: traffic.is_whole_again(killed), "traffic is back", 5)
        yield traffic
        stack.start_daemon("ratelimitd", 2)
        traffic.watch = Stopwatch()
        back = time.monotonic()
        until(lambda: tenant.get("/v1/ratelimits/statistics").json().get("replicas") == 4, "four replicas answer", 10)
        until(lambda: traffic.is_whole_again(back), "traffic is well", 5)
    finally:
        traffic.stop()
    assert max(traffic.failed_s, default=0) < 1


def test_a_killed_replica_in_memory_gives_its_keys_at_most_one_more_limit_each_way(own):
    stack = own(Processes, replicas={"ratelimitd": 4}, redis=False)
    keys = [f"user-{i}" for i in range(40)]
    with a_replica_killed_and_back(stack, 10, keys, used=400) as traffic:
        until(lambda: max(traffic.admitted.values()) == 20, "its keys begin anew elsewhere", 5)
        moved = [key for key in keys if traffic.admitted[key] > 10]
        assert 0 < len(moved) < len(keys)
        assert all(traffic.admitted[key] <= 20 for key in keys)
    assert all(traffic.admitted[key] == 10 for key in keys if key not in moved)
    assert all(traffic.admitted[key] <= 30 for key in moved)


def test_a_killed_replica_on_redis_lets_no_key_have_more_than_its_limit(own):
    stack = own(Processes, replicas={"ratelimitd": 4})
    keys = [f"user-{i}" for i in range(40)]
    with a_replica_killed_and_back(stack, 50, keys, used=1000) as traffic:
        # A call that failed may have been counted, and none twice.
        until(lambda: sum(traffic.admitted.values()) >= 50 * len(keys) - len(traffic.failed_at), "all is used", 20)
    assert max(traffic.admitted.values()) <= 50


def all_replicas_know_each_other(client):
    """After a start they find each other one by one, and until then they disagree on who owns a key."""
    def look():
        return all(client.get("/v1/ratelimits/statistics").json()["replicas"] == 4 for _ in range(40))
    until(look, "each of four replicas knows the others", 10)


@pytest.mark.parametrize("kind", ["four_in_memory", "four_on_redis"])
def test_many_checks_in_one_call_are_decided_where_each_key_is(kind, request):
    tenant = request.getfixturevalue(kind).tenant(plan="unlimited", scopes=["*"])
    limit(tenant, "few", units=5)
    defined_everywhere(tenant, "few")
    all_replicas_know_each_other(tenant)
    keys = [f"user-{i}" for i in range(30)]
    body = {"requests": [{"checks": [{"limit": "few", "key": key}]} for key in keys]
            + [{"checks": [{"limit": "nowhere", "key": "k"}]}]}

    def batch(_):
        items = tenant.post("/v1/ratelimits/batch-check", body).json()["items"]
        assert "not defined" in items[-1]["error"]
        assert [i["reply"]["limits"][0]["key"] for i in items[:-1]] == keys
        return [i["reply"]["allowed"] for i in items[:-1]]
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        rounds = list(pool.map(batch, range(12)))
    assert [sum(r[i] for r in rounds) for i in range(len(keys))] == [5] * len(keys)
    assert not any(check(tenant, ("few", key)).json()["allowed"] for key in keys)


def test_many_checks_in_one_call_are_made_as_the_caller(four_in_memory):
    tenant = four_in_memory.tenant(plan="free", scopes=["*"])
    small = key_of(four_in_memory, tenant, ["ratelimits.check"], ("charts", 3, "FIXED_WINDOW"))
    other = four_in_memory.tenant(plan="unlimited", scopes=["*"])
    keys = [f"user-{i}" for i in range(12)]
    asked = [{"checks": [{"limit": "charts", "key": key, "cost": 0}]} for key in keys]
    all_replicas_know_each_other(tenant)

    def quotas():
        return {i["reply"]["limits"][0]["quota"] for i in
                small.post("/v1/ratelimits/batch-check", {"requests": asked}).json()["items"]}
    assert quotas() == {3}
    foreign = [{**request, "tenant_id": other.tenant_id} for request in asked]
    items = small.post("/v1/ratelimits/batch-check", {"requests": foreign}).json()["items"]
    assert all("only operators" in item["error"] for item in items)
    planned = [{"checks": [{"limit": "readings", "key": key, "cost": 0, "plan": "unlimited"}]} for key in keys]
    items = small.post("/v1/ratelimits/batch-check", {"requests": planned}).json()["items"]
    assert {i["reply"]["limits"][0]["quota"] for i in items} == {10}


@pytest.mark.parametrize("kind", ["four_in_memory", "four_on_redis"])
def test_limits_of_keys_on_different_replicas_are_taken_together_or_not_at_all(kind, request):
    tenant = request.getfixturevalue(kind).tenant(plan="unlimited", scopes=["*"])
    limit(tenant, "per-user", units=1000)
    limit(tenant, "per-address", units=20)
    defined_everywhere(tenant, "per-address")
    all_replicas_know_each_other(tenant)
    users = [f"user-{i}" for i in range(30)]

    def both(user):
        answer = check(tenant, ("per-user", user), ("per-address", "10.0.0.1"))
        states = answer.json()["limits"]
        assert [s["key"] for s in states] == [user, "10.0.0.1"]
        assert "per-address" in answer.headers["RateLimit"] and "per-user" in answer.headers["RateLimit"]
        return answer.json()["allowed"]
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        admitted = list(pool.map(both, users * 3))
    # What is about to be given back may refuse others: never too much, and the rest is there for the next.
    assert 0 < sum(admitted) <= 20
    while both("user-0"):
        admitted.append(True)
    assert sum(admitted) == 20
    used = [1000 - check(tenant, ("per-user", user, 0)).json()["limits"][0]["remaining"] for user in users]
    assert sum(used) == 20
    looked = tenant.post("/v1/ratelimits/peek", {"checks": [{"limit": "per-user", "key": u} for u in users[:16]]})
    assert [1000 - s["remaining"] for s in looked.json()["limits"]] == used[:16]
    back = tenant.post("/v1/ratelimits/give-back", {"checks": [
        {"limit": "per-address", "key": "10.0.0.1", "cost": 3}, {"limit": "per-user", "key": "user-0", "cost": 1}]})
    assert back.json()["allowed"] and back.json()["limits"][0]["remaining"] == 3
    assert [both("user-1") for _ in range(4)] == [True] * 3 + [False]
    unknown = check(tenant, ("per-user", "user-1"), ("nowhere", "k"))
    assert unknown.status_code == 404 and unknown.json()["errors"][0]["pointer"] == "/checks/1/limit"


def test_changes_of_one_limit_at_the_same_moment_all_count(tenant):
    path = f"/v1/limits/{limit(tenant, 'busy', 'TOKEN_BUCKET', burst=5)['id']}"
    changes = [{"limit": 77}, {"burst": 78}, {"shadow": True}, {"description": "all"}, {"on_failure": "FAIL_OPEN"}]
    for _ in range(5):
        assert tenant.patch(path, {"limit": 5, "burst": 5, "shadow": False, "description": "none",
                                   "on_failure": "FAIL_CLOSED"}).status_code == 200
        with concurrent.futures.ThreadPoolExecutor(len(changes)) as pool:
            assert [a.status_code for a in pool.map(lambda body: tenant.patch(path, body), changes)] == [200] * 5
        now = tenant.get(path).json()
        assert all(now[name] == value for body in changes for name, value in body.items()), now
