"""Several replicas of cached on one Redis: one cache, whichever of them is asked."""
import concurrent.futures
import itertools
import resource
import signal
import time

import pytest
from origin import Origin
from raw import Raw
from stack import Processes, until

SCOPES = ["cache.*"]
REPLICAS = 3
INGRESSES = 3


@pytest.fixture(scope="module")
def fleet(request):
    stack = Processes("--cached.allow=127.0.0.0/8", replicas={"cached": REPLICAS, "ingress": INGRESSES})
    request.addfinalizer(stack.stop)
    stack.until_connected("cached")
    return stack


@pytest.fixture
def tenant(fleet):
    return fleet.tenant(plan="unlimited", scopes=SCOPES)


def answered(call):
    """The answer of a call that may be repeated: a busy machine may have no time for it at first."""
    return until(lambda: (reply := call()).status_code not in (503, 504) and [reply], "it is answered", 60)[0]


def put(client, path, data=b"v", **query):
    def once():
        return client.put(f"/v1/cache/{path}", None, data=data, headers={"Content-Type": "text/plain"}, params=query)
    reply = once() if "lease" in query else answered(once)
    assert reply.status_code == 200, reply.text
    return reply.json()


def get(client, path, **query):
    return client.get(f"/v1/cache/{path}", params=query)


def ask(client, namespace, what, body):
    def once():
        return client.post(f"/v1/caches/{namespace}/{what}", body)
    reply = once() if what == "incr" else answered(once)
    assert reply.status_code == 200, reply.text
    return reply.json()


def seen(client, path, times=4 * REPLICAS):
    """What so many gets in a row are answered, by whichever replica."""
    return {(reply.status_code, reply.content if reply.status_code == 200 else b"")
            for reply in (answered(lambda: get(client, path)) for _ in range(times))}


def with_redis(stack, attempt):
    """What `attempt` gave while all replicas reached Redis, which on a busy machine answers too late at times."""
    def outages():
        return sum(stack.by_name["cached", n].output().count("redis is away") for n in range(REPLICAS))

    def once():
        before = outages()
        result = attempt()
        return outages() == before and all(told(stack, n) for n in range(REPLICAS)) and [result]
    return until(once, "Redis answered in time", 120)[0]


def test_what_one_replica_was_given_every_replica_gives(fleet, tenant):
    def attempt():
        put(tenant, "pages/a", b"hello", tags="x")
        tags = {answered(lambda: get(tenant, "pages/a")).headers.get("ETag") for _ in range(4 * REPLICAS)}
        return seen(tenant, "pages/a"), len(tags)
    assert with_redis(fleet, attempt) == ({(200, b"hello")}, 1)


@pytest.mark.parametrize("what, body", [("delete-many", {"keys": ["a/b"]}), ("invalidate", {"tags": ["x"]}),
                                        ("invalidate", {"prefixes": ["a"]}), ("invalidate", {"patterns": ["*/b"]}),
                                        ("invalidate", {"everything": True})])
def test_what_was_invalidated_no_replica_gives_a_second_later(fleet, tenant, what, body):
    def attempt(value):
        put(tenant, "pages/a/b", value, tags="x")
        before = seen(tenant, "pages/a/b")
        ask(tenant, "pages", what, body)
        time.sleep(1)  # the bound that is promised
        return before, seen(tenant, "pages/a/b")
    for turn in range(3):
        value = b"%d" % turn
        assert with_redis(fleet, lambda: attempt(value)) == ({(200, value)}, {(404, b"")})


def test_a_cold_key_has_one_who_fills_it_among_all_replicas(tenant):
    def one(_):
        reply = get(tenant, "pages/cold", lease="true", wait_ms=15000)
        token = reply.headers.get("Corbel-Lease")
        if token:
            put(tenant, "pages/cold", b"made", lease=token)
        return token is not None, reply.content if reply.status_code == 200 else b"made"
    with concurrent.futures.ThreadPoolExecutor(24) as pool:
        answers = list(pool.map(one, range(48)))
    assert sum(made for made, _ in answers) == 1
    assert {content for _, content in answers} == {b"made"}


@pytest.fixture
def origin(fleet, tenant):
    """Of the namespace "fetched", from which every replica has fetched already."""
    def fetched():
        return [fleet.metric(fleet.by_name["cached", n], 'corbel_cache_fetches_total{outcome="fetched"}') or 0
                for n in range(REPLICAS)]
    made = Origin()
    body = {"namespace": {"name": "fetched", "error_grace_ms": 3600000, "origin": {"url": made.url + "/{key}"}}}
    before = fetched()
    assert tenant.post("/v1/caches", body).status_code == 201
    probes = (f"fetched/probe{turn}" for turn in itertools.count())
    until(lambda: get(tenant, next(probes)).status_code and all(now > was for now, was in zip(fetched(), before)),
          "every replica knows the namespace", 60)
    yield made
    made.stop()


def together(fleet, tenant, path, count):
    """The answers to so many callers at once, each on a connection of its own, of all ingresses in turn."""
    request = f"GET /v1/cache/{path} HTTP/1.1\r\nHost: corbel\r\nAuthorization: Bearer {tenant.key}\r\n\r\n"
    callers = [Raw(fleet.ports[number % INGRESSES]).send(request) for number in range(count)]
    try:
        return [caller.answer() for caller in callers]
    finally:
        for caller in callers:
            caller.socket.close()


def test_a_thousand_callers_of_three_ingresses_and_three_replicas_are_one_question(fleet, tenant, origin):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(4096, hard)), hard))
    origin.delay = 0.5
    keys = (f"cold{turn}" for turn in itertools.count())

    def attempt():
        key = next(keys)
        answers = together(fleet, tenant, f"fetched/{key}", 1000)
        late = any(answer.status in (503, 504) for answer in answers)  # a busy machine
        return not late and ({(answer.status, answer.body) for answer in answers}, origin.asked.count(f"/{key}"))
    assert until(lambda: with_redis(fleet, attempt), "all are answered in time", 120) == ({(200, b"page")}, 1)


def test_a_failing_origin_is_asked_once_a_second_by_a_replica_whoever_asks(fleet, tenant, origin):
    origin.status = 500
    began = time.monotonic()
    assert {get(tenant, "fetched/broken").status_code for _ in range(60)} <= {503, 504}
    assert origin.asked.count("/broken") <= REPLICAS * (1 + time.monotonic() - began)


def test_what_another_replica_fetched_or_what_is_stale_is_not_called_new(fleet, tenant, origin):
    def status():
        return answered(lambda: get(tenant, "fetched/k")).headers["Cache-Status"].partition("; ttl=")[0]

    def attempt():
        ask(tenant, "fetched", "delete-many", {"keys": ["k"]})
        assert status() in ("corbel; fwd=uri-miss; stored", "corbel; hit")  # it may be there when it is waited for
        return {status() for _ in range(4 * REPLICAS)}
    assert with_redis(fleet, attempt) == {"corbel; hit"}
    origin.status = 500
    ask(tenant, "fetched", "expire", {"key": "k"})
    assert {status() for _ in range(4 * REPLICAS)} <= {"corbel; hit", "corbel; fwd=stale"}


def test_callers_of_all_replicas_count_together(tenant):
    with concurrent.futures.ThreadPoolExecutor(12) as pool:
        values = list(pool.map(lambda _: int(ask(tenant, "pages", "incr", {"key": "n"})["value"]), range(60)))
    assert sorted(values) == list(range(1, 61))
    assert ask(tenant, "pages", "get-many", {"keys": ["n"]})["entries"][0]["json"] == 60


def test_of_two_conditional_writes_one_is_kept(tenant):
    version = put(tenant, "pages/k")["version"]
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        codes = list(pool.map(lambda _: tenant.put(f"/v1/cache/pages/k?if_version={version}", None, data=b"n",
                                                   headers={"Content-Type": "text/plain"}).status_code, range(8)))
    assert sorted(codes) == [200] + [409] * 7


def test_statistics_are_sums_over_all_replicas(fleet, tenant):
    put(tenant, "pages/k")
    seen(tenant, "pages/k", 40)
    seen(tenant, "pages/none", 10)

    def figures(**query):
        reply = tenant.get("/v1/cache-statistics", params={"namespace": "pages", **query}).json()
        return reply, reply["namespaces"][0]
    told, sums = figures()
    assert sorted(told["answered"]) == [f"cached{n}" for n in range(REPLICAS)] and "missing" not in told
    assert sums["hits"] == 40 and sums["misses"] == 10 and sums["sets"] == 1 and sums["hit_permille"] == 800
    assert 1 <= sums["entries"] <= REPLICAS and told["entries"] == sums["entries"]
    assert [key["key"] for key in sums["top_keys"]] == ["k", "none"] and sums["top_keys"][0]["gets"] >= 40
    until(lambda: figures()[1].get("gets_1m", 0) > 40 and figures()[1]["hit_permille_1m"] in range(790, 811), "it is counted", 60)
    own = {}
    until(lambda: own.update({(told := figures(own="true"))[0]["answered"][0]: told[1]}) or len(own) == REPLICAS, "each was asked")
    assert sum(one.get("hits", 0) for one in own.values()) == 40
    assert figures()[1].get("leases_lost", 0) == 0  # nobody had a token


def test_memory_is_given_back_by_all_replicas_and_values_are_still_in_redis(fleet, tenant):
    put(tenant, "pages/k")
    seen(tenant, "pages/k", 40)
    told = fleet.operator.post("/v1/cache-memory/shrink", {"bytes": 0}).json()
    assert sorted(told["answered"]) == [f"cached{n}" for n in range(REPLICAS)] and "missing" not in told
    assert tenant.get("/v1/cache-statistics").json().get("entries", 0) == 0
    assert get(tenant, "pages/k").status_code == 200
    one = fleet.operator.post("/v1/cache-memory/shrink", {"bytes": 0, "own": True}).json()
    assert len(one["answered"]) == 1


# ---- what fails


@pytest.fixture
def own_fleet(own):
    stack = own(Processes, "--cached.lease=5m", replicas={"cached": REPLICAS})
    stack.until_connected("cached")
    return stack, stack.tenant(plan="unlimited", scopes=SCOPES)


def test_the_token_of_a_replica_that_was_killed_goes_to_another(own_fleet):
    stack, tenant = own_fleet
    token = get(tenant, "pages/k", lease="true").headers["Corbel-Lease"]

    def giver():
        given = [number for number in range(REPLICAS)
                 if stack.metric(stack.by_name["cached", number], 'corbel_cache_leases_total{outcome="given"}')]
        return given and stack.by_name["cached", given[0]]
    process = until(giver, "the token is counted")
    assert "Corbel-Lease" not in get(tenant, "pages/k", lease="true").headers
    process.popen.kill()
    killed = time.monotonic()
    process.popen.wait()
    other = until(lambda: get(tenant, "pages/k", lease="true", wait_ms=1000).headers.get("Corbel-Lease"), "another gets one")
    # Half a second is promised, which cache_holder_test shows; the lease itself is good for five minutes.
    assert time.monotonic() - killed < 20
    reply = tenant.put(f"/v1/cache/pages/k?lease={token}", None, data=b"late", headers={"Content-Type": "text/plain"})
    assert reply.status_code == 409
    put(tenant, "pages/k", b"made", lease=other)
    assert seen(tenant, "pages/k") == {(200, b"made")}


def test_without_redis_no_caller_of_gets_and_writes_gets_an_error(own_fleet):
    stack, tenant = own_fleet
    assert tenant.post("/v1/caches", {"namespace": {"name": "strict", "outage_ms": 0}}).status_code == 201
    for path in ("pages/hot", "strict/hot"):
        put(tenant, path, b"hot")
        assert seen(tenant, path) == {(200, b"hot")}
    stack.redis.process.popen.kill()
    stack.redis.process.popen.wait()
    until(lambda: seen(tenant, "pages/other") and all(alone(stack, n) for n in range(REPLICAS)), "all are alone")
    until(lambda: seen(tenant, "strict/hot") == {(404, b"")}, "a namespace that bears no outage gives nothing")
    assert (200, b"hot") in seen(tenant, "pages/hot")
    for turn in range(100):
        assert get(tenant, "pages/hot").status_code in (200, 404)  # as the replica has it in memory
        assert get(tenant, f"pages/cold{turn}", lease="true").status_code == 404
        assert tenant.delete(f"/v1/cache/pages/other{turn}").status_code == 200
        put(tenant, f"pages/new{turn}", b"new")
    assert tenant.delete("/v1/cache/pages/hot").json()["pending"] is True
    assert tenant.post("/v1/caches/pages/incr", {"key": "n"}).status_code == 503
    stack.redis.start()
    until(lambda: not tenant.delete("/v1/cache/pages/nothing").json().get("pending"), "Redis is used again")
    until(lambda: all(stack.metric(stack.by_name["cached", n], "corbel_cache_trusted_shards") == 16 and
                      stack.metric(stack.by_name["cached", n], "corbel_cache_pending") == 0 for n in range(REPLICAS)),
          "all replicas are in step")
    until(lambda: seen(tenant, "pages/hot") == {(404, b"")}, "what was deleted meanwhile is gone everywhere")


def alone(stack, number):
    """Whether the replica goes on without Redis."""
    return stack.metric(stack.by_name["cached", number], "corbel_redis_up") == 0


def told(stack, number):
    process = stack.by_name["cached", number]
    return (stack.metric(process, "corbel_cache_trusted_shards") == 16 and
            stack.metric(process, "corbel_cache_pending") == 0)


def test_what_a_replica_acknowledged_without_redis_holds_though_it_is_killed(own_fleet):
    stack, tenant = own_fleet
    ends = {"a/b": ("delete-many", {"keys": ["a/b"]}), "c/d": ("invalidate", {"tags": ["x"]}),
            "e/f": ("invalidate", {"prefixes": ["e"]}), "g/h": ("invalidate", {"patterns": ["*/h"]})}
    for key in [*ends, "kept"]:
        put(tenant, f"pages/{key}", b"old", tags="x" if key == "c/d" else "y", ttl_ms=3600000)
        assert seen(tenant, f"pages/{key}") == {(200, b"old")}
    stack.redis.process.send(signal.SIGSTOP)  # it keeps its data
    until(lambda: seen(tenant, "pages/other") and all(alone(stack, n) for n in range(REPLICAS)), "all are alone")
    for what, body in ends.values():
        assert ask(tenant, "pages", what, body)["pending"] is True
    holders = [n for n in range(REPLICAS) if stack.metric(stack.by_name["cached", n], "corbel_cache_pending")]
    for number in holders:
        process = stack.by_name["cached", number]
        process.popen.kill()
        process.popen.wait()
        stack.start_daemon("cached", number)
    stack.redis.process.send(signal.SIGCONT)
    until(lambda: all(told(stack, n) for n in range(REPLICAS)), "all replicas are in step")
    stack.until_connected("cached")
    time.sleep(1)  # the bound that is promised
    for key in ends:
        assert seen(tenant, f"pages/{key}") == {(404, b"")}
    assert seen(tenant, "pages/kept") == {(200, b"old")}
    assert sum(stack.metric(stack.by_name["cached", n], "corbel_cache_pending_told_total") for n in holders) == len(ends)


def test_a_replica_that_is_told_to_end_tells_the_others_first_when_redis_comes_back(own):
    stack = own(Processes, "--drain.grace=2m", replicas={"cached": REPLICAS})
    stack.until_connected("cached")
    tenant = stack.tenant(plan="unlimited", scopes=SCOPES)
    put(tenant, "pages/k", b"old", ttl_ms=3600000)
    assert seen(tenant, "pages/k") == {(200, b"old")}
    stack.redis.process.send(signal.SIGSTOP)  # it keeps its data
    until(lambda: seen(tenant, "pages/other") and all(alone(stack, n) for n in range(REPLICAS)), "all are alone")
    assert ask(tenant, "pages", "delete-many", {"keys": ["k"]})["pending"] is True
    (holder,) = [n for n in range(REPLICAS) if stack.metric(stack.by_name["cached", n], "corbel_cache_pending")]
    leaving = stack.by_name["cached", holder]
    leaving.send(signal.SIGTERM)
    until(lambda: "stopping" in leaving.output(), "it is on its way out")
    stack.redis.process.send(signal.SIGCONT)
    assert leaving.popen.wait(60) == 0
    assert "changes are left" not in leaving.output()
    others = [n for n in range(REPLICAS) if n != holder]
    until(lambda: all(told(stack, n) for n in others), "the others are in step")
    time.sleep(1)  # the bound that is promised
    assert {content for code, content in seen(tenant, "pages/k") if code == 200} == set()


def test_statistics_name_the_replicas_that_do_not_answer(own_fleet):
    stack, tenant = own_fleet
    put(tenant, "pages/k")
    stopped = stack.by_name["cached", 1]
    stopped.send(signal.SIGSTOP)

    def told(answered, missing):
        reply = tenant.get("/v1/cache-statistics")  # not answered at all by the one that stands still
        said = reply.json() if reply.status_code == 200 else {}
        return sorted(said.get("answered", [])) == answered and said.get("missing", []) == missing
    until(lambda: told(["cached0", "cached2"], ["cached1"]), "it is missing")
    stopped.send(signal.SIGCONT)
    until(lambda: told(["cached0", "cached1", "cached2"], []), "it answers again")


def test_without_a_place_to_keep_it_an_invalidation_is_refused_while_redis_is_away(own):
    stack = own(Processes, replicas={"cached": 1})
    process = stack.by_name["cached", 0]
    process.stop()
    (stack.directory / "data-cached0" / "cached.pending").unlink()
    (stack.directory / "data-cached0" / "cached.pending").mkdir()
    stack.start_daemon("cached", 0)
    stack.until_connected("cached")
    tenant = stack.tenant(plan="unlimited", scopes=SCOPES)
    put(tenant, "pages/k", b"value")
    assert seen(tenant, "pages/k") == {(200, b"value")}
    stack.redis.process.popen.kill()
    stack.redis.process.popen.wait()
    until(lambda: alone(stack, 0), "it is alone")
    reply = tenant.delete("/v1/cache/pages/k")
    assert reply.status_code == 503 and "cached.pending" in reply.json()["detail"]
    assert seen(tenant, "pages/k") == {(200, b"value")}
    token = get(tenant, "pages/cold", lease="true").headers["Corbel-Lease"]
    put(tenant, "pages/cold", b"made", lease=token)  # which changes nothing that others have
