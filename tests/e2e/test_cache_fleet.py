"""Several replicas of cached on one Redis: one cache, whichever of them is asked."""
import concurrent.futures
import time

import pytest
from stack import Processes

SCOPES = ["cache.*"]
REPLICAS = 3


@pytest.fixture(scope="module")
def fleet(request):
    stack = Processes(replicas={"cached": REPLICAS, "ingress": 1})
    request.addfinalizer(stack.stop)
    stack.until_connected("cached")
    return stack


@pytest.fixture
def tenant(fleet):
    return fleet.tenant(plan="unlimited", scopes=SCOPES)


def put(client, path, data=b"v", **query):
    reply = client.put(f"/v1/cache/{path}", None, data=data, headers={"Content-Type": "text/plain"}, params=query)
    assert reply.status_code == 200, reply.text
    return reply.json()


def get(client, path, **query):
    return client.get(f"/v1/cache/{path}", params=query)


def ask(client, namespace, what, body):
    reply = client.post(f"/v1/caches/{namespace}/{what}", body)
    assert reply.status_code == 200, reply.text
    return reply.json()


def seen(client, path, times=4 * REPLICAS):
    """What so many gets in a row are answered, by whichever replica."""
    return {(reply.status_code, reply.content if reply.status_code == 200 else b"")
            for reply in (get(client, path) for _ in range(times))}


def test_what_one_replica_was_given_every_replica_gives(tenant):
    put(tenant, "pages/a", b"hello", tags="x")
    assert seen(tenant, "pages/a") == {(200, b"hello")}
    tags = {get(tenant, "pages/a").headers["ETag"] for _ in range(4 * REPLICAS)}
    assert len(tags) == 1


@pytest.mark.parametrize("what, body", [("delete-many", {"keys": ["a/b"]}), ("invalidate", {"tags": ["x"]}),
                                        ("invalidate", {"prefixes": ["a"]}), ("invalidate", {"patterns": ["*/b"]}),
                                        ("invalidate", {"everything": True})])
def test_what_was_invalidated_no_replica_gives_a_second_later(tenant, what, body):
    for turn in range(3):
        put(tenant, "pages/a/b", b"%d" % turn, tags="x")
        assert seen(tenant, "pages/a/b") == {(200, b"%d" % turn)}
        ask(tenant, "pages", what, body)
        time.sleep(1)  # the bound that is promised
        assert seen(tenant, "pages/a/b") == {(404, b"")}


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


def test_callers_of_all_replicas_count_together(tenant):
    with concurrent.futures.ThreadPoolExecutor(12) as pool:
        values = list(pool.map(lambda _: int(ask(tenant, "pages", "incr", {"key": "n"})["value"]), range(60)))
    assert sorted(values) == list(range(1, 61))


def test_of_two_conditional_writes_one_is_kept(tenant):
    version = put(tenant, "pages/k")["version"]
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        codes = list(pool.map(lambda _: tenant.put(f"/v1/cache/pages/k?if_version={version}", None, data=b"n",
                                                   headers={"Content-Type": "text/plain"}).status_code, range(8)))
    assert sorted(codes) == [200] + [409] * 7
