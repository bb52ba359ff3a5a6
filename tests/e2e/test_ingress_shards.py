"""An ingress of several threads, each with connections of its own, is one ingress."""
import signal

import pytest
from raw import Raw
from stack import Serve, until
from test_ingress_tls import SecureServe, write_pair

CONNECTIONS = 60


@pytest.fixture(scope="module")
def sharded():
    stack = Serve("--ingress.shards=3")
    yield stack
    stack.stop()


@pytest.fixture
def connections(sharded):
    """So many that every shard has some."""
    made = [Raw(sharded.port) for _ in range(CONNECTIONS)]
    yield made
    for raw in made:
        raw.close()


def statuses(connections, key, path="/v1/keys"):
    request = f"GET {path} HTTP/1.1\r\nHost: corbel\r\nX-API-Key: {key}\r\n\r\n"
    for raw in connections:
        raw.send(request)
    return [raw.answer().status for raw in connections]


def test_every_shard_hears_of_a_revocation(sharded, connections):
    key = sharded.operator.post("/v1/keys", {"scopes": ["keys.read"]}).json()
    assert statuses(connections, key["secret"]) == [200] * CONNECTIONS
    assert sharded.operator.post(f"/v1/keys/{key['key']['id']}/revoke").status_code == 200
    until(lambda: statuses(connections, key["secret"]) == [401] * CONNECTIONS, "all shards refuse", 2)


def test_shards_share_a_plans_limit(sharded, connections):
    made = sharded.operator.post("/v1/plans", {"name": "shared", "limits": [
        {"resource": "api.read", "limit": 30, "window_ms": 3600000}]})
    assert made.status_code == 201
    tenant = sharded.tenant(plan="shared", scopes=["*"])
    look = {"tenant_id": tenant.tenant_id, "checks": [{"limit": "api.read", "key": "nobody", "plan": "shared"}]}
    until(lambda: sharded.operator.post("/v1/ratelimits/peek", look).status_code == 200, "the plan is known", 5)
    seen = statuses(connections, tenant.key)
    assert (seen.count(200), seen.count(429)) == (30, 30)


def test_every_shard_shows_the_new_certificate(own):
    stack = own(SecureServe, "ec", "--ingress.shards=3")
    write_pair(stack.files, "server")
    stack.serve.send(signal.SIGHUP)

    def shown():
        return {stack.certificate() for _ in range(30)}
    until(lambda: shown() == {stack.on_disk()}, "all shards show it", 10)


def test_shards_finish_what_they_have_begun_and_stop(own):
    stack = own(Serve, "--ingress.shards=3")
    connections = [Raw(stack.port) for _ in range(30)]
    assert statuses(connections, stack.admin_key) == [200] * 30
    assert stack.serve.stop() == 0
    assert all(raw.is_closed() for raw in connections)
