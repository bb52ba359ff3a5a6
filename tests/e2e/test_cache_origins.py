"""Namespaces with an origin: the cache fetches what it does not have, once, and lives through the origin's failures."""
import concurrent.futures
import re
import subprocess
import threading
import time

import pytest
from origin import Origin
from stack import BIN, Serve, until

SCOPES = ["cache.*"]
OWN = threading.local()


@pytest.fixture(scope="module")
def stack():
    made = Serve("--cached.allow=127.0.0.0/8")
    yield made
    made.stop()


@pytest.fixture
def tenant(stack):
    return stack.tenant(plan="unlimited", scopes=SCOPES)


@pytest.fixture
def origin():
    made = Origin()
    yield made
    made.stop()


def define(tenant, origin, path="/pages/{key}", headers=None, **rules):
    body = {"namespace": {"name": "pages", "origin": {"url": origin.url + path, "headers": headers or {}}, **rules}}
    reply = tenant.post("/v1/caches", body)
    assert reply.status_code == 201, reply.text
    return reply.json()


def get(tenant, key, **kwargs):
    """On a connection of the thread's own, so that many can be under way."""
    if getattr(OWN, "key", None) != tenant.key:
        OWN.key, OWN.client = tenant.key, type(tenant)(tenant.url, tenant.key)
    return OWN.client.get(f"/v1/cache/pages/{key}", **kwargs)


def test_what_is_not_there_is_fetched_once(tenant, origin):
    define(tenant, origin)
    first = get(tenant, "a/b%20c")
    assert (first.status_code, first.content, first.headers["Content-Type"]) == (200, b"page", "text/html")
    assert first.headers["Cache-Status"].startswith("corbel; fwd=uri-miss; stored; ttl=")
    assert get(tenant, "a/b%20c").headers["Cache-Status"].startswith("corbel; hit; ttl=")
    assert origin.asked == ["/pages/a/b%20c"]


def test_no_first_question_is_called_a_hit_however_fast_the_origin_is(tenant, origin):
    define(tenant, origin)
    said = [get(tenant, f"k{n}").headers["Cache-Status"].partition("; ttl=")[0] for n in range(60)]
    assert set(said) == {"corbel; fwd=uri-miss; stored"}
    again = [get(tenant, f"k{n}").headers["Cache-Status"].partition("; ttl=")[0] for n in range(60)]
    assert set(again) == {"corbel; hit"}


def test_a_thousand_callers_of_a_cold_key_are_one_question(tenant, origin):
    origin.delay = 0.5
    define(tenant, origin)
    with concurrent.futures.ThreadPoolExecutor(32) as pool:
        replies = list(pool.map(lambda _: get(tenant, "cold"), range(1000)))
    assert {(r.status_code, r.content) for r in replies} == {(200, b"page")} and len(origin.asked) == 1
    figures = tenant.get("/v1/cache-statistics?namespace=pages").json()["namespaces"][0]
    assert figures["hits"] + figures["misses"] == 1000 and figures["top_keys"] == [{"key": "cold", "gets": 1000}]


def test_headers_are_sent_and_their_values_are_never_shown(tenant, origin):
    made = define(tenant, origin, headers={"Authorization": "Bearer s3cret", "X-Kind": "page"})
    assert made["origin"]["headers"] == {"Authorization": "", "X-Kind": ""}
    assert "s3cret" not in tenant.get("/v1/caches").text + tenant.get("/v1/caches/pages").text
    get(tenant, "k")
    assert origin.headers[0]["Authorization"] == "Bearer s3cret"
    # Sent back as it was shown, it keeps its values.
    shown = tenant.get("/v1/caches/pages").json()["origin"]
    changed = tenant.patch("/v1/caches/pages", {"origin": {**shown, "headers": {"authorization": "", "X-New": "1"}}})
    assert changed.status_code == 200, changed.text
    get(tenant, "other")
    assert origin.headers[1]["authorization"] == "Bearer s3cret" and origin.headers[1]["X-New"] == "1"


def test_a_page_that_is_not_there_is_remembered(tenant, origin):
    origin.status = 404
    define(tenant, origin)
    for _ in range(5):
        assert get(tenant, "none").status_code == 404
    assert len(origin.asked) == 1


def test_stale_values_are_given_while_the_origin_fails(tenant, origin):
    define(tenant, origin, ttl_ms=1000000, error_grace_ms=1000000)
    assert get(tenant, "k").content == b"page"
    origin.status = 500
    tenant.post("/v1/caches/pages/expire", {"key": "k"})
    began = time.monotonic()
    for _ in range(20):
        reply = get(tenant, "k")
        assert (reply.status_code, reply.content) == (200, b"page"), reply.text
        assert re.fullmatch(r"corbel; (hit|fwd=stale); ttl=(0|-\d+)", reply.headers["Cache-Status"])
    assert len(origin.asked) <= 3 + time.monotonic() - began  # a failure is remembered for a second
    origin.status, origin.body = 200, b"new"
    until(lambda: get(tenant, "k").content == b"new", "the origin is asked again", 60)


def test_a_stale_value_is_never_called_a_new_one(tenant, origin):
    define(tenant, origin, ttl_ms=1000000, error_grace_ms=1000000)
    get(tenant, "k")
    origin.status = 500
    tenant.post("/v1/caches/pages/expire", {"key": "k"})
    assert re.fullmatch(r"corbel; fwd=stale; ttl=(0|-\d+)", get(tenant, "k").headers["Cache-Status"])


def test_what_comes_in_a_coding_is_not_kept(tenant, origin):
    define(tenant, origin)
    origin.coding = "gzip"
    assert get(tenant, "k").status_code == 503 and origin.headers[0]["Accept-Encoding"] == "identity"
    origin.coding = "identity"
    assert get(tenant, "other").content == b"page"


def test_without_a_stale_value_a_failing_origin_is_unavailable(tenant, origin):
    origin.status = 503
    define(tenant, origin)
    reply = get(tenant, "k")
    assert reply.status_code == 503 and reply.json()["code"] == "UNAVAILABLE" and "Retry-After" in reply.headers


def test_no_part_of_a_value_is_kept_for_the_whole(tenant, origin):
    define(tenant, origin)
    origin.body = b"x" * (1 << 20)
    assert get(tenant, "largest").content == origin.body
    origin.body += b"x"
    assert get(tenant, "larger").status_code == 503
    assert get(tenant, "larger").status_code == 503  # nor is it there when it is asked for again


@pytest.mark.parametrize("status", [201, 203, 206, 301, 302, 403, 500, 503])
def test_only_what_is_answered_as_a_whole_is_a_value(tenant, origin, status):
    origin.status = status
    define(tenant, origin)
    assert get(tenant, "k").status_code == 503
    assert len(origin.asked) == 1  # whatever it says of another place


def test_an_origin_that_takes_longer_than_it_may_has_failed(tenant, origin):
    origin.delay = 5
    made = {"namespace": {"name": "pages", "origin": {"url": origin.url + "/{key}", "timeout_ms": 1000}}}
    assert tenant.post("/v1/caches", made).status_code == 201
    began = time.monotonic()
    reply = get(tenant, "k")
    assert reply.status_code == 503 and time.monotonic() - began >= 0.9
    assert len(origin.asked) == 1


def test_json_of_an_origin_is_given_as_bytes_because_nobody_checked_it(tenant, origin):
    origin.type, origin.body = "application/json", b"{not json"
    define(tenant, origin)
    assert get(tenant, "k").content == b"{not json"
    many = tenant.post("/v1/caches/pages/get-many", {"keys": ["k"]})
    assert many.status_code == 200, many.text
    entry = many.json()["entries"][0]
    assert "json" not in entry and entry["content_type"].startswith("application/json")


def test_in_grace_the_value_is_renewed_behind_the_caller(tenant, origin):
    define(tenant, origin, ttl_ms=1000000, grace_ms=1000000)
    get(tenant, "k")
    origin.body = b"new"
    tenant.post("/v1/caches/pages/expire", {"key": "k"})
    assert get(tenant, "k").content == b"page"
    until(lambda: get(tenant, "k").content == b"new", "it is renewed", 60)
    assert len(origin.asked) == 2


def test_what_was_invalidated_while_it_was_fetched_is_not_kept(tenant, origin):
    origin.delay = 1
    define(tenant, origin)
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        fetched = pool.submit(get, tenant, "k")
        until(lambda: origin.asked, "the origin is asked")
        tenant.post("/v1/caches/pages/invalidate", {"everything": True})
        origin.body, origin.delay = b"new", 0
        fetched.result()
    assert get(tenant, "k").content == b"new"


def test_keys_lead_nowhere_but_below_the_template(tenant, origin):
    define(tenant, origin, "/pages/{key}?full=1")
    for key in ("..%2F..%2Fadmin", "a/%2E%2E/b", "."):
        assert get(tenant, key).status_code in (404, 503)
    get(tenant, "x%3Fadmin=1%26y%23z")
    assert origin.asked == ["/pages/x%3Fadmin%3D1%26y%23z?full=1"]


def test_warming_fetches_what_is_missing(tenant, origin):
    define(tenant, origin)
    get(tenant, "k0")
    reply = tenant.post("/v1/caches/pages/warm", {"keys": [f"k{i}" for i in range(50)]})
    assert reply.status_code == 200 and reply.json() == {"present": 1, "fetching": 49}
    until(lambda: len(origin.asked) == 50, "all are fetched", 60)
    assert tenant.post("/v1/caches/plain/warm", {"keys": ["k"]}).status_code == 409


@pytest.mark.parametrize("url", ["ftp://example.com/{key}", "https://example.com/", "https://{key}.example.com/", "https://example.com/{key}/{key}",
                                 "https://user@example.com/{key}", "https://example.com/{key} x", "{key}", "https://example.com#{key}"])
def test_a_template_that_makes_no_sense_is_refused(tenant, url):
    reply = tenant.post("/v1/caches", {"namespace": {"name": "n", "origin": {"url": url}}})
    assert reply.status_code == 400 and [e["pointer"] for e in reply.json()["errors"]] == ["/namespace/origin/url"]


@pytest.mark.parametrize("name, value", [("Host", "x"), ("a b", "x"), ("X", "a\nb"), ("Content-Length", "1"), ("X-Kept", "")])
def test_headers_that_cannot_be_sent_are_refused(tenant, name, value):
    body = {"namespace": {"name": "n", "origin": {"url": "https://example.com/{key}", "headers": {name: value}}}}
    assert tenant.post("/v1/caches", body).status_code == 400


def test_networks_that_make_no_sense_are_named_before_anything_starts():
    ran = subprocess.run([BIN / "corbel", "serve", "--check-config", "--cached.allow=10.0.0.0/99"], capture_output=True, text=True)
    assert ran.returncode == 2 and "cached.allow" in ran.stderr and "10.0.0.0/99" in ran.stderr


def test_private_addresses_are_refused_unless_they_are_allowed(own, origin):
    stack = own(Serve)
    tenant = stack.tenant(plan="unlimited", scopes=SCOPES)
    define(tenant, origin)
    assert get(tenant, "k").status_code == 503 and not origin.asked


def test_what_was_hot_is_fetched_again_after_a_start(own, origin):
    stack = own(Serve, "--cached.allow=127.0.0.0/8")
    tenant = stack.tenant(plan="unlimited", scopes=SCOPES)
    define(tenant, origin)
    for key in ("hot", "a/b"):
        for _ in range(3):
            assert get(tenant, key).status_code == 200
    assert stack.serve.stop() == 0
    origin.asked.clear()
    stack.start()
    until(lambda: sorted(origin.asked) == ["/pages/a/b", "/pages/hot"], "they are fetched", 60)
    until(lambda: "corbel; hit" in get(tenant, "hot").headers["Cache-Status"], "it is there", 60)
    assert len(origin.asked) == 2
