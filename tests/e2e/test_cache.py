"""The cache over HTTP: entries as they are, leases, invalidation, bounds, and who may see what."""
import concurrent.futures
import json
import os
import re
import subprocess
import threading
import time

import pytest
from stack import BIN, Processes, Serve, until

SCOPES = ["cache.*"]


@pytest.fixture
def tenant(stack):
    return stack.tenant(plan="unlimited", scopes=SCOPES)


@pytest.fixture(scope="module")
def other(stack):
    return stack.tenant(plan="unlimited", scopes=SCOPES)


def put(client, path, data=b"v", kind="text/plain", **query):
    reply = client.put(f"/v1/cache/{path}", None, data=data, headers={"Content-Type": kind}, params=query)
    assert reply.status_code == 200, reply.text
    return reply.json()


def get(client, path, **query):
    return client.get(f"/v1/cache/{path}", params=query)


def ask(client, namespace, what, body, status=200):
    reply = client.post(f"/v1/caches/{namespace}/{what}", body)
    assert reply.status_code == status, reply.text
    return reply.json()


def is_there(client, path):
    reply = get(client, path)
    assert reply.status_code in (200, 404)
    return reply.status_code == 200


# ---- as HTTP


@pytest.mark.parametrize("data, kind", [(b"\x00\xff\x80 bytes", "application/octet-stream"), (b'{ "a" : [1, 2.50] }', "application/json"),
                                        ("Grüße".encode(), "text/html; charset=utf-8"), (b"", "text/plain")])
def test_a_value_comes_back_as_it_went_in(tenant, data, kind):
    put(tenant, "pages/some/thing", data, kind)
    reply = get(tenant, "pages/some/thing")
    assert reply.status_code == 200 and reply.content == data and reply.headers["Content-Type"] == kind


def test_the_answer_says_how_old_and_how_fresh_it_is(tenant):
    put(tenant, "pages/home", ttl_ms=100000)
    headers = get(tenant, "pages/home").headers
    assert int(headers["Age"]) < 100
    assert re.fullmatch(r'"[0-9a-f]{8}-[0-9a-f]+"', headers["ETag"])
    assert 88 <= int(re.fullmatch(r"private, max-age=(\d+)", headers["Cache-Control"])[1]) <= 111
    assert 88 <= int(re.fullmatch(r"corbel; hit; ttl=(\d+)", headers["Cache-Status"])[1]) <= 111


def test_who_has_the_value_is_told_so_and_nothing_more(tenant):
    put(tenant, "pages/home", b"one")
    tag = get(tenant, "pages/home").headers["ETag"]
    for known in (tag, f'"x", W/{tag}', "*"):
        reply = tenant.get("/v1/cache/pages/home", headers={"If-None-Match": known})
        assert reply.status_code == 304 and reply.content == b"" and reply.headers["ETag"] == tag, known
        assert reply.headers["Content-Length"] == "3"  # of what it leaves out
    put(tenant, "pages/home", b"two")
    reply = tenant.get("/v1/cache/pages/home", headers={"If-None-Match": tag})
    assert reply.status_code == 200 and reply.content == b"two" and reply.headers["ETag"] != tag


def test_a_write_with_terms_that_are_not_kept_changes_nothing(tenant):
    put(tenant, "pages/k", b"one")
    tag = get(tenant, "pages/k").headers["ETag"]
    for terms, code in (({"If-Match": tag}, 400), ({"If-None-Match": "*"}, 400), ({"Content-Encoding": "gzip"}, 415)):
        assert tenant.put("/v1/cache/pages/k", None, data=b"two", headers=terms).status_code == code, terms
    assert tenant.delete("/v1/cache/pages/k", headers={"If-Match": '"x"'}).status_code == 400
    assert get(tenant, "pages/k").content == b"one"
    assert tenant.put("/v1/cache/pages/k", None, data=b"two", headers={"Content-Encoding": "identity"}).status_code == 200


def test_a_miss_is_not_found_and_no_cache_keeps_it(tenant):
    reply = get(tenant, "pages/nothing")
    assert reply.status_code == 404 and reply.json()["code" if "code" in reply.json() else "title"]
    assert reply.headers["Cache-Status"] == "corbel; fwd=uri-miss" and reply.headers["Cache-Control"] == "no-store"
    assert "Corbel-Lease" not in reply.headers


def test_a_key_may_hold_slashes_and_anything_encoded(tenant):
    put(tenant, "pages/a/b%2Fc/%C3%BC%20%3F")
    found = ask(tenant, "pages", "get-many", {"keys": ["a/b/c/ü ?"]})["entries"][0]
    assert found["outcome"] == "HIT" and found["text"] == "v"


def test_what_says_it_is_json_has_to_be(tenant):
    reply = tenant.put("/v1/cache/pages/x", None, data=b'{"a":', headers={"Content-Type": "application/json"})
    assert reply.status_code == 400 and reply.json()["errors"][0]["pointer"] == "/json"


# ---- leases


def test_one_caller_gets_the_token_and_only_it_fills(tenant):
    first = get(tenant, "pages/cold", lease="true")
    token = first.headers["Corbel-Lease"]
    assert first.status_code == 404 and re.fullmatch("[0-9a-f]{16}", token) and int(first.headers["Corbel-Lease-Ms"]) > 0
    second = get(tenant, "pages/cold", lease="true")
    assert "Corbel-Lease" not in second.headers and "collapsed" in second.headers["Cache-Status"]
    reply = tenant.put("/v1/cache/pages/cold", None, data=b"wrong", params={"lease": "00000000000000a5"})
    assert reply.status_code == 409 and reply.json()["code"] == "ABORTED"
    assert put(tenant, "pages/cold", b"filled", lease=token)["stored"]
    assert get(tenant, "pages/cold").content == b"filled"


@pytest.mark.parametrize("how", [{"tags": ["t"]}, {"prefixes": ["cold"]}, {"patterns": ["co*d"]}, {"everything": True}, None])
def test_a_fill_that_an_invalidation_overtook_is_refused(tenant, how):
    token = get(tenant, "pages/cold", lease="true").headers["Corbel-Lease"]
    if how:
        ask(tenant, "pages", "invalidate", how)
    else:
        tenant.delete("/v1/cache/pages/cold")
    reply = tenant.put("/v1/cache/pages/cold", None, data=b"old", params={"lease": token, "tags": "t"})
    assert reply.status_code == 409, reply.text
    assert not is_there(tenant, "pages/cold")


def test_who_waits_gets_what_another_fills_in(tenant):
    token = get(tenant, "pages/slow", lease="true").headers["Corbel-Lease"]
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        waiting = [pool.submit(get, stack_client(tenant), "pages/slow", wait_ms=20000) for _ in range(8)]
        until(lambda: not any(w.done() for w in waiting), "they wait")
        put(tenant, "pages/slow", b"here", lease=token)
        assert [w.result().content for w in waiting] == [b"here"] * 8


def stack_client(client):
    """The same caller on a connection of its own."""
    return type(client)(client.url, client.key)


def test_who_waits_in_vain_is_told_in_time(tenant):
    get(tenant, "pages/never", lease="true")
    began = time.monotonic()
    assert get(tenant, "pages/never", wait_ms=300).status_code == 404
    assert time.monotonic() - began >= 0.3


def test_nobody_waits_for_a_key_that_nobody_fills(tenant):
    began = time.monotonic()
    assert get(tenant, "pages/nobody", wait_ms=20000).status_code == 404
    assert time.monotonic() - began < 15


def test_a_thousand_callers_of_one_cold_key_make_one_value(tenant):
    made, lock, own = [], threading.Lock(), threading.local()

    def read():
        if not hasattr(own, "client"):
            own.client = stack_client(tenant)
        reply = get(own.client, "pages/hot", lease="true", wait_ms=20000)
        if reply.status_code == 200:
            return reply.content
        with lock:
            made.append(1)
        put(own.client, "pages/hot", b"made", lease=reply.headers["Corbel-Lease"])
        return b"made"

    with concurrent.futures.ThreadPoolExecutor(32) as pool:
        assert {f.result() for f in [pool.submit(read) for _ in range(1000)]} == {b"made"}
    assert len(made) == 1


def test_a_token_that_is_given_back_goes_to_the_next(tenant):
    token = get(tenant, "pages/k", lease="true").headers["Corbel-Lease"]
    assert ask(tenant, "pages", "release", {"key": "k", "lease": token}) == {"found": True}
    assert ask(tenant, "pages", "release", {"key": "k", "lease": token}) == {"found": False}
    assert get(tenant, "pages/k", lease="true").headers["Corbel-Lease"] != token


# ---- times


def test_expiring_leaves_a_stale_value_to_all_but_the_one_who_renews_it(tenant):
    put(tenant, "pages/page", b"old", ttl_ms=60000, grace_ms=60000)
    assert ask(tenant, "pages", "expire", {"key": "page"}) == {"found": True}
    first = get(tenant, "pages/page", lease="true")
    assert first.content == b"old" and "Corbel-Lease" in first.headers
    assert re.match(r"corbel; hit; ttl=(0|-\d)", first.headers["Cache-Status"]) and first.headers["Cache-Control"] == "private, max-age=0"
    second = get(tenant, "pages/page", lease="true")
    assert second.content == b"old" and "Corbel-Lease" not in second.headers
    put(tenant, "pages/page", b"new", lease=first.headers["Corbel-Lease"])
    assert get(tenant, "pages/page").content == b"new"


def test_without_grace_an_expired_value_is_gone(tenant):
    put(tenant, "pages/page")
    ask(tenant, "pages", "expire", {"key": "page"})
    assert not is_there(tenant, "pages/page")


def test_error_grace_is_for_those_whose_origin_fails(tenant):
    put(tenant, "pages/page", ttl_ms=60000, error_grace_ms=60000)
    ask(tenant, "pages", "expire", {"key": "page"})
    assert get(tenant, "pages/page").status_code == 404
    assert get(tenant, "pages/page", origin_failed="true").content == b"v"


def test_a_value_ends_with_its_time_and_touching_keeps_it(tenant):
    put(tenant, "pages/short", ttl_ms=200)
    put(tenant, "pages/kept", ttl_ms=200)
    assert ask(tenant, "pages", "touch", {"key": "kept", "ttl_ms": 600000}) == {"found": True}
    until(lambda: not is_there(tenant, "pages/short"), "its time is over", 60)
    assert is_there(tenant, "pages/kept")


def test_touching_makes_fresh_what_is_in_grace_and_nothing_that_is_past_it(tenant):
    for grace, found in (("grace_ms", True), ("error_grace_ms", False)):
        put(tenant, "pages/k", b"old", **{grace: 100000})
        ask(tenant, "pages", "expire", {"key": "k"})
        assert ask(tenant, "pages", "touch", {"key": "k"}) == {"found": found}
        assert is_there(tenant, "pages/k") == found
    assert get(tenant, "pages/k", origin_failed="true").content == b"old"


def test_that_there_is_no_value_is_remembered(tenant):
    put(tenant, "pages/none", b"", negative="true")
    reply = get(tenant, "pages/none", lease="true")
    assert reply.status_code == 404 and "hit" in reply.headers["Cache-Status"] and "Corbel-Lease" not in reply.headers
    put(tenant, "pages/none", b"now there is")
    assert is_there(tenant, "pages/none")


# ---- invalidation


def test_nothing_of_what_is_invalidated_is_given_again(tenant):
    keys = ["a", "a/b", "a/bc", "a/b/c", "x-1", "x-22"]

    def fill():
        for key in keys:
            put(tenant, f"inv/{key}", tags=["all", f"only-{key}"], grace_ms=60000)

    def left():
        return {k for k in keys if is_there(tenant, f"inv/{k}")}
    for how, gone in (({"tags": ["only-a/b"]}, {"a/b"}), ({"tags": ["all"]}, set(keys)), ({"prefixes": ["a/b"]}, {"a/b", "a/b/c"}),
                      ({"patterns": ["x-?"]}, {"x-1"}), ({"patterns": ["*b*", "x-2*"]}, {"a/b", "a/bc", "a/b/c", "x-22"}),
                      ({"everything": True}, set(keys))):
        fill()
        ask(tenant, "inv", "invalidate", how)
        assert left() == set(keys) - gone, how


def test_deleting_tells_whether_there_was_something(tenant):
    put(tenant, "pages/a")
    assert tenant.delete("/v1/cache/pages/a").json() == {"found": True}
    assert tenant.delete("/v1/cache/pages/a").json() == {"found": False}
    put(tenant, "pages/b")
    assert ask(tenant, "pages", "delete-many", {"keys": ["a", "b", "c"]}) == {"found": 1}


# ---- many, numbers, versions


def test_many_keys_in_one_call_each_as_what_it_is(tenant):
    entries = [{"key": "j", "json": {"a": 1.50}}, {"key": "t", "text": "hello"}, {"key": "b", "value": "AP8="},
               {"key": "n", "negative": True}, {"key": "v", "text": "x", "if_version": 77}]
    stored = ask(tenant, "many", "set-many", {"entries": entries})["entries"]
    assert [e["stored"] for e in stored] == [True, True, True, True, False] and "version" in stored[4]["reason"]
    j, t, b, n, m = ask(tenant, "many", "get-many", {"keys": ["j", "t", "b", "n", "m"]})["entries"]
    assert (j["json"], t["text"], b["value"]) == ({"a": 1.5}, "hello", "AP8=")
    assert (n["outcome"], m["outcome"]) == ("NEGATIVE", "MISS")
    assert j["content_type"] == "application/json" and t["content_type"] == "text/plain; charset=utf-8"


def test_values_that_do_not_fit_one_answer_are_left_out_and_can_be_had_alone(tenant):
    for i in range(8):
        put(tenant, f"large/{i}", bytes(1000000), "application/octet-stream")
    entries = ask(tenant, "large", "get-many", {"keys": [str(i) for i in range(8)]})["entries"]
    left = [e["key"] for e in entries if e.get("left_out")]
    assert 0 < len(left) < 8
    with concurrent.futures.ThreadPoolExecutor(16) as pool:  # coalesced or not, each comes whole
        whole = [pool.submit(get, stack_client(tenant), f"large/{i % 8}") for i in range(64)]
        assert {(w.result().status_code, len(w.result().content)) for w in whole} == {(200, 1000000)}


def test_counting_is_exact_among_many(tenant):
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: ask(stack_client(tenant), "counts", "incr", {"key": "n", "by": 2, "initial": 100}), range(200)))
    assert get(tenant, "counts/n").content == b"500"
    assert ask(tenant, "counts", "get-many", {"keys": ["n"]})["entries"][0]["json"] == 500
    put(tenant, "counts/text", b"abc")
    assert ask(tenant, "counts", "incr", {"key": "text"}, 409)["code"] == "FAILED_PRECONDITION"
    ask(tenant, "counts", "incr", {"key": "big", "initial": 2 ** 63 - 1, "by": 0})
    assert ask(tenant, "counts", "incr", {"key": "big"}, 400)["code"] == "OUT_OF_RANGE"


def test_of_two_who_change_the_same_version_one_wins(tenant):
    version = put(tenant, "pages/v", b"1")["version"]
    assert put(tenant, "pages/v", b"2", if_version=version)["version"] > version
    reply = tenant.put("/v1/cache/pages/v", None, data=b"3", params={"if_version": version})
    assert reply.status_code == 409 and reply.json()["code"] == "FAILED_PRECONDITION"
    assert put(tenant, "pages/new", b"1", if_version=0)["stored"]
    assert tenant.put("/v1/cache/pages/new", None, data=b"2", params={"if_version": 0}).status_code == 409


# ---- bounds


@pytest.mark.parametrize("path, query, pointer", [
    ("pages/" + "k" * 513, {}, "/key"), ("pages/k", {"tags": ["t"] * 17}, "/tags"), ("pages/k", {"tags": ["t" * 129]}, "/tags/0"),
    ("pages/k", {"ttl_ms": 0}, "/ttl_ms"), ("pages/k", {"ttl_ms": 2592000001}, "/ttl_ms"), ("pages/k", {"lease": "x"}, "/lease"),
    ("pages/k", {"surplus": 1}, "/surplus"), ("pages/k", {"text": "and a body"}, "/value"), ("Pages/k", {}, "/namespace")])
def test_each_bound_is_named(tenant, path, query, pointer):
    reply = tenant.put(f"/v1/cache/{path}", None, data=b"v", params=query)
    assert reply.status_code == 400, reply.text
    assert pointer in [e["pointer"] for e in reply.json()["errors"]], reply.text


def test_the_longest_key_most_tags_and_largest_value_are_taken(tenant):
    put(tenant, "pages/" + "k" * 512, bytes(1 << 20), tags=[str(i) * 16 for i in range(16)])
    assert len(get(tenant, "pages/" + "k" * 512).content) == 1 << 20
    reply = tenant.put("/v1/cache/pages/k", None, data=bytes((1 << 20) + 1))
    assert reply.status_code == 413 and reply.json()["type"].endswith("content-too-large")


@pytest.mark.parametrize("what, body, pointer", [
    ("get-many", {"keys": ["k"] * 129}, "/keys"), ("get-many", {"keys": []}, "/keys"), ("get-many", {"keys": [""]}, "/keys/0"),
    ("delete-many", {"keys": ["k"] * 129}, "/keys"), ("set-many", {"entries": [{"key": "k", "text": "v"}] * 129}, "/entries"),
    ("set-many", {"entries": [{"key": "k"}]}, "/entries/0/value"), ("set-many", {"entries": [{"key": "k", "text": "v", "negative": True}]}, "/entries/0/value"),
    ("invalidate", {}, ""), ("invalidate", {"patterns": ["a" * 257]}, "/patterns/0"), ("invalidate", {"patterns": ["a\\"]}, "/patterns/0"),
    ("invalidate", {"tags": ["t"] * 17}, "/tags")])
def test_each_bound_of_many_is_named(tenant, what, body, pointer):
    assert pointer in [e["pointer"] for e in ask(tenant, "pages", what, body, 400)["errors"]]


def test_a_pattern_of_many_stars_takes_no_longer(tenant):
    put(tenant, "pages/" + "a" * 500)
    began = time.monotonic()
    ask(tenant, "pages", "invalidate", {"patterns": ["*a" * 127 + "b"]})
    assert is_there(tenant, "pages/" + "a" * 500) and time.monotonic() - began < 10


# ---- namespaces


def test_a_namespace_says_what_holds_for_its_entries(tenant):
    made = tenant.post("/v1/caches", {"namespace": {"name": "ruled", "ttl_ms": 50000, "grace_ms": 9000, "max_value_bytes": 10}})
    assert made.status_code == 201 and made.json()["ttl_ms"] == 50000
    put(tenant, "ruled/k", b"0123456789")
    assert 44 <= int(get(tenant, "ruled/k").headers["Cache-Control"].split("=")[1]) <= 56
    reply = tenant.put("/v1/cache/ruled/k", None, data=b"0123456789a")
    assert reply.status_code == 400 and "takes 10" in reply.json()["errors"][0]["detail"]
    assert tenant.patch("/v1/caches/ruled", {"max_value_bytes": None, "ttl_ms": 1000000}).json()["ttl_ms"] == 1000000
    put(tenant, "ruled/k", b"0123456789a")
    assert int(get(tenant, "ruled/k").headers["Cache-Control"].split("=")[1]) > 800


def test_a_namespace_holds_no_more_than_it_may(tenant):
    tenant.post("/v1/caches", {"namespace": {"name": "small", "max_entries": 10}})
    for i in range(100):
        put(tenant, f"small/{i}")
    figures = tenant.get("/v1/cache-statistics?namespace=small").json()["namespaces"][0]
    assert figures["entries"] <= 10 and figures["evicted"] >= 90


def test_deleting_a_namespace_empties_it(tenant):
    tenant.post("/v1/caches", {"namespace": {"name": "gone", "grace_ms": 60000}})
    put(tenant, "gone/k")
    assert tenant.delete("/v1/caches/gone").status_code == 204
    assert not is_there(tenant, "gone/k") and tenant.get("/v1/caches/gone").status_code == 404
    assert tenant.delete("/v1/caches/gone").status_code == 404


def test_namespaces_are_listed_by_name_a_page_at_a_time(tenant):
    for name in "bca":
        assert tenant.post("/v1/caches", {"namespace": {"name": name}}).status_code == 201
    assert tenant.post("/v1/caches", {"namespace": {"name": "a"}}).status_code == 409
    first = tenant.get("/v1/caches?page_size=2").json()
    assert [n["name"] for n in first["namespaces"]] == ["a", "b"]
    second = tenant.get(f"/v1/caches?page_size=2&page_token={first['next_page_token']}").json()
    assert [n["name"] for n in second["namespaces"]] == ["c"] and "next_page_token" not in second


# ---- who


def test_a_tenant_sees_and_touches_nothing_of_another(tenant, other):
    put(tenant, "shared/k", b"mine")
    assert not is_there(other, "shared/k")
    put(other, "shared/k", b"theirs")
    ask(other, "shared", "invalidate", {"everything": True})
    assert get(tenant, "shared/k").content == b"mine"
    tenant.post("/v1/caches", {"namespace": {"name": "shared"}})
    assert other.get("/v1/caches/shared").status_code == 404
    names = [n["namespace"] for n in other.get("/v1/cache-statistics").json()["namespaces"]]
    assert tenant.get("/v1/cache-statistics?tenant_id=root").status_code == 403
    assert names.count("shared") == 1


def test_scopes_part_reading_writing_and_ruling(stack):
    reader = stack.tenant(plan="unlimited", scopes=["cache.read"])
    writer = stack.tenant(plan="unlimited", scopes=["cache.write"])
    assert get(reader, "p/k").status_code == 404 and get(reader, "p/k", wait_ms=10).status_code == 404
    assert reader.put("/v1/cache/p/k", None, data=b"v").status_code == 403
    assert put(writer, "p/k")["stored"] and get(writer, "p/k").status_code == 403
    assert writer.post("/v1/caches", {"namespace": {"name": "n"}}).status_code == 403


def test_operators_act_for_a_tenant(stack, tenant):
    put(tenant, "op/k", b"seen")
    tenant_id = tenant.post("/v1/caches", {"namespace": {"name": "op"}}).json()["tenant_id"]
    assert get(stack.operator, "op/k", tenant_id=tenant_id).content == b"seen"


# ---- figures


def test_statistics_tell_what_happened(tenant):
    put(tenant, "stats/a")
    for _ in range(3):
        get(tenant, "stats/a")
    get(tenant, "stats/b", lease="true")
    ask(tenant, "stats", "invalidate", {"everything": True})
    figures = tenant.get("/v1/cache-statistics?namespace=stats").json()["namespaces"][0]
    assert (figures["hits"], figures["misses"], figures["sets"], figures["leases"], figures["invalidations"]) == (3, 1, 1, 1, 1)
    until(lambda: tenant.get("/v1/cache-statistics?namespace=stats").json()["namespaces"][0].get("hit_permille_1m") == 750, "it is counted", 60)
    assert figures["hit_permille"] == 750 and figures["top_keys"][0] == {"key": "a", "gets": 3}


def test_metrics_count_gets(serve):
    client = serve.tenant(plan="unlimited", scopes=SCOPES)
    put(client, "m/k")

    def hits():
        import requests
        text = requests.get(f"http://127.0.0.1:{serve.admin_port}/metrics", timeout=20).text
        return float(re.search(r'^corbel_cache_gets_total\{outcome="hit"\} (\S+)', text, re.M)[1])
    before = hits()
    for _ in range(10):
        get(client, "m/k")
    until(lambda: hits() >= before + 10, "the hits are counted", 60)


def test_the_command_line_keeps_gets_and_tells(stack, tenant):
    def corbel(*words, code=0):
        ran = subprocess.run([str(BIN / "corbel"), *words], capture_output=True, timeout=60,
                             env={"PATH": os.environ["PATH"], "HOME": "/nonexistent", "CORBEL_URL": stack.url, "CORBEL_API_KEY": tenant.key})
        assert ran.returncode == code, (words, ran.stdout, ran.stderr)
        return ran.stdout
    corbel("cache", "set", "cli", "a/b", "--value", "hello", "--ttl-ms", "60000", "--tags", "x", "--tags", "y")
    assert corbel("cache", "get", "cli", "a/b") == b"hello"
    corbel("cache", "set", "cli", "j", "--json", '{"a":1}')
    assert corbel("cache", "get", "cli", "j") == b'{"a":1}'
    corbel("cache", "set", "cli", "t", "--text", "hello")
    assert b"text/plain" in corbel("cache", "get-many", "cli", "t")
    for words in (["expire", "cli", "t"], ["touch", "cli", "j"], ["release", "cli", "j", "--lease", "0" * 16]):
        assert corbel("cache", *words, "--output", "csv").split()[0] == b"found"
    assert b"7" in corbel("cache", "incr", "cli", "@n", "--by", "7") and corbel("cache", "get", "cli", "@n") == b"7"
    corbel("cache", "expire", "cli", "j", "another", code=2)
    corbel("cache", "invalidate", "cli", "--tags", "y")
    corbel("cache", "get", "cli", "a/b", code=4)
    assert b"cli" in corbel("cache", "stats")
    _, keys = corbel("cache", "stats", "--namespace", "cli").split(b"\n\ntop_keys\n")
    assert {line.split()[0] for line in keys.splitlines()} == {b"key", b"a/b", b"j", b"t", b"@n"}
    assert corbel("cache", "get-many", "cli", "j", "a/b").split()[5:7] == [b"j", b"HIT"]


def test_a_cache_that_is_killed_comes_back_empty_with_its_definitions(own):
    stack = own(Processes, redis=False)
    client = stack.tenant(plan="unlimited", scopes=SCOPES)
    assert client.post("/v1/caches", {"namespace": {"name": "kept", "ttl_ms": 77000}}).status_code == 201
    put(client, "kept/k")
    tag = get(client, "kept/k").headers["ETag"]
    stack.by_name["cached", 0].popen.kill()
    stack.by_name["cached", 0].popen.wait()
    until(lambda: get(client, "kept/k").status_code in (503, 504), "it is away", 60)
    assert client.get("/v1/limits").status_code in (200, 403)  # nothing else is
    stack.start_daemon("cached")
    until(lambda: get(client, "kept/k").status_code == 404, "it is back", 60)
    assert client.get("/v1/caches/kept").json()["ttl_ms"] == 77000
    put(client, "kept/k")
    reply = client.get("/v1/cache/kept/k", headers={"If-None-Match": tag})
    assert reply.status_code == 200 and 68 <= int(reply.headers["Cache-Control"].split("=")[1]) <= 86


def test_a_full_cache_keeps_to_its_bytes_and_one_tenant_does_not_push_out_another(own):
    stack = own(Serve, "--cached.memory=4MiB")
    small, greedy = (stack.tenant(plan="unlimited", scopes=SCOPES) for _ in range(2))
    for i in range(20):
        put(small, f"s/{i}", bytes(1000))
    for i in range(200):
        put(greedy, f"g/{i}", bytes(100000), "application/octet-stream")
    figures = greedy.get("/v1/cache-statistics").json()
    assert figures["bytes"] <= 4 << 20 and figures["namespaces"][0]["evicted"] >= 100
    assert all(is_there(small, f"s/{i}") for i in range(20))
    reply = greedy.put("/v1/cache/g/large", None, data=bytes(300000))
    assert reply.status_code == 400 and reply.json()["errors"][0]["pointer"] == "/value"


def test_an_operator_has_memory_given_back_and_nobody_else(own):
    stack = own(Serve)
    tenant = stack.tenant(plan="unlimited", scopes=SCOPES)
    for i in range(100):
        put(tenant, f"n/{i}", bytes(100000), "application/octet-stream")
    assert tenant.post("/v1/cache-memory/shrink", {"bytes": 0}).status_code == 403
    assert is_there(tenant, "n/0") and is_there(tenant, "n/99")
    refused = stack.operator.post("/v1/cache-memory/shrink", {})
    assert refused.status_code == 400 and refused.json()["errors"][0]["pointer"] == "/bytes"
    ran = subprocess.run([BIN / "corbel", "cache", "shrink", "--bytes", "3000000", "--output", "json"], capture_output=True, timeout=60,
                         env={"PATH": os.environ["PATH"], "HOME": "/nonexistent", "CORBEL_URL": stack.url, "CORBEL_API_KEY": stack.operator.key})
    assert ran.returncode == 0, ran.stderr
    told = json.loads(ran.stdout)
    assert told["bytes_before"] > 10000000 and 1000000 < told["bytes"] <= 3000000 and len(told["answered"]) == 1
    kept = tenant.get("/v1/cache-statistics").json()
    assert 10 <= kept["entries"] < 30 and kept["namespaces"][0]["evicted"] == 100 - kept["entries"]
    assert tenant.put("/v1/cache/n/later", None, data=b"x").status_code == 200 and is_there(tenant, "n/later")


def test_a_tenant_keeps_within_its_bytes_and_entries_and_another_loses_none(own):
    stack = own(Serve, "--cached.tenant_entries=50", "--cached.tenant_memory=1MiB")
    other, many, large = (stack.tenant(plan="unlimited", scopes=SCOPES) for _ in range(3))
    for i in range(50):
        put(other, f"o/{i}")
    for i in range(100):
        put(many, f"{'ab'[i % 2]}/{i}")
        put(large, f"l/{i}", bytes(60000), "application/octet-stream")
    told = {client: client.get("/v1/cache-statistics").json() for client in (other, many, large)}
    assert told[other]["entries"] == 50 and told[many]["entries"] == 50
    assert 10 <= told[large]["entries"] < 18 and told[large]["bytes"] <= 1 << 20
    assert all(is_there(other, f"o/{i}") for i in range(50))


def test_tenants_share_a_full_cache_by_their_weights(own):
    stack = own(Serve, "--cached.memory=8MiB")
    heavy, light = (stack.tenant(plan="unlimited", scopes=SCOPES) for _ in range(2))
    stack.options = ("--cached.memory=8MiB", f"--cached.tenant_weights={heavy.tenant_id}=3")
    assert stack.restart() == 0
    for i in range(300):
        for tenant in (light, heavy):
            put(tenant, f"n/{i}", bytes(50000), "application/octet-stream")
    kept = [tenant.get("/v1/cache-statistics").json()["bytes"] for tenant in (heavy, light)]
    assert 2.5 < kept[0] / kept[1] < 3.5 and sum(kept) > 6 << 20


@pytest.mark.parametrize("weights, named", [("ten_1=2", "'ten_1=2' must be"), (f"ten_{'0' * 32}=0", "from 1 to 1000"),
                                            (f"ten_{'0' * 32}=1001", "from 1 to 1000"),
                                            (f"ten_{'0' * 32}=2,ten_{'0' * 32}=3", "is there twice")])
def test_a_weight_that_is_none_is_named(tmp_path, weights, named):
    wrong = subprocess.run([BIN / "corbel", "serve", f"--data={tmp_path}", f"--cached.tenant_weights={weights}"],
                           capture_output=True, text=True, timeout=60)
    assert wrong.returncode == 2 and "cached.tenant_weights" in wrong.stderr and named in wrong.stderr


def test_a_tenant_defines_a_thousand_namespaces_and_no_more(own):
    stack = own(Serve)
    tenant = stack.tenant(plan="unlimited", scopes=SCOPES)
    for i in range(1000):
        assert tenant.post("/v1/caches", {"namespace": {"name": f"n{i}"}}).status_code == 201
    reply = tenant.post("/v1/caches", {"namespace": {"name": "n1000"}})
    assert reply.status_code == 429 and "1000 namespaces" in reply.json()["detail"]
    assert tenant.delete("/v1/caches/n0").status_code == 204
    assert tenant.post("/v1/caches", {"namespace": {"name": "n1000"}}).status_code == 201


def test_the_command_line_goes_on_telling(serve):
    tenant = serve.tenant(plan="unlimited", scopes=SCOPES)
    put(tenant, "watched/k")
    env = {"PATH": os.environ["PATH"], "HOME": "/nonexistent", "CORBEL_URL": serve.url, "CORBEL_API_KEY": tenant.key}
    argv = [str(BIN / "corbel"), "cache", "stats", "--watch", "--output", "csv"]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True, env=env) as watching:
        seen = [watching.stdout.readline() for _ in range(2)]
        get(tenant, "watched/k")
        while not re.match("watched,1,", seen[-1]):
            seen.append(watching.stdout.readline())
            assert seen[-1], "it ended"
        watching.kill()
    assert seen[0].startswith("namespace,hits,misses") and seen[1].startswith("watched,0,")
    wrong = subprocess.run([*argv[:2], "invalidate", "watched", "--everything", "--watch"], capture_output=True, text=True, env=env)
    assert wrong.returncode == 2 and "only read" in wrong.stderr
