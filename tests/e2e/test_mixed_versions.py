"""Daemons of two versions beside each other, as they are while an installation is brought up to date: services first, then the
ingress, and back again in front of a newer ingress and on newer schemas. The other version is the one after this, which
next_version.py builds, and the last released one, if this tree's history has it."""
import os
import pathlib
import subprocess

import pytest
from next_version import DAEMONS, NOUNS, build, build_next, path_of_next
from sink import Sink
from stack import BIN, GIVEN_URL, Processes, is_sanitized, until

SOURCE = pathlib.Path(os.environ.get("CORBEL_SOURCE", pathlib.Path(__file__).parents[2]))
SERVICES = [name for name in DAEMONS if name != "ingress"]  # in the order in which they are brought up to date
PLAIN_LIMIT = {"strategy": "TOKEN_BUCKET", "limit": 1000, "window_ms": 1000}
pytestmark = pytest.mark.skipif(bool(GIVEN_URL) or is_sanitized(), reason="starts processes of its own, without sanitizers")


@pytest.fixture(scope="module")
def following():
    return build_next(BIN.parent / "next", SOURCE)


@pytest.fixture(scope="module")
def released():
    def git(*words):
        ran = subprocess.run(["git", "-C", SOURCE, *words], capture_output=True)
        return ran.stdout if ran.returncode == 0 else b""
    tag = git("describe", "--tags", "--abbrev=0", "--match", "v*").decode().strip()
    if not tag:
        pytest.skip("no version has been released")
    tree = BIN.parent / "released" / tag
    if not tree.exists():
        tree.mkdir(parents=True)
        subprocess.run(["tar", "-x", "-C", tree], input=git("archive", tag), check=True)
    return build(tree / "made", tree)


class Mixed(Processes):
    """Each daemon of this build, or of another one."""

    def change(self, name, programs):
        """Stops the daemon, and starts it as `programs` have it."""
        assert self.by_name[name, 0].stop() == 0
        self.programs[name] = programs
        self.start_daemon(name)
        until(self.is_ready, "the ingress is ready")
        if name != "ingress":
            reached = f'corbel_bus_client_healthy_replicas{{service="{name}"}}'
            until(lambda: self.metric(self.by_name["ingress", 0], reached) == 1, f"{name} can be called")


class Life:
    """A tenant who goes on working, and misses nothing of what it was told is there."""

    def __init__(self, stack, sink):
        self.stack, self.sink = stack, sink
        self.tenant = stack.tenant(plan="unlimited", scopes=["*"])
        made = self.tenant.post("/v1/webhooks", {"url": sink.url + "/hook", "filter": {"types": ["mixed.*"]}})
        assert made.status_code == 201, made.text
        self.count, self.limits, self.keys, self.events = 0, [], [], []

    def goes_on(self):
        self.count += 1
        name, tenant = f"n{self.count}", self.tenant
        key = tenant.post("/v1/keys", {"name": name, "scopes": ["keys.read"]})
        assert key.status_code == 201, key.text
        self.keys.append(key.json()["secret"])
        limit = tenant.post("/v1/limits", {"name": name, **PLAIN_LIMIT})
        assert limit.status_code == 201, limit.text
        self.limits.append(name)
        event = tenant.post("/v1/events", {"events": [{"type": "mixed.made", "data": {"count": self.count}}]})
        assert event.status_code == 200, event.text
        self.events.append(event.json()["events"][0]["id"])
        assert tenant.put(f"/v1/cache/mixed/{name}", None, data=b"value").status_code in (200, 201, 204)
        assert tenant.get(f"/v1/cache/mixed/{name}").content == b"value"
        self.has_everything()

    def has_everything(self):
        for name in self.limits:
            asked = {"checks": [{"limit": name, "key": "k"}]}
            until(lambda: self.tenant.post("/v1/ratelimits/check", asked).status_code == 200, f"{name} is checked")
        for secret in self.keys:
            assert self.stack.client(secret).get("/v1/keys").status_code == 200
        for one in self.events:
            assert self.tenant.get(f"/v1/events/{one}").status_code == 200
        until(lambda: set(self.events) <= {hook.id for hook in self.sink.hooks}, "every event is delivered")


STORES = {"embedded": {"postgres": False, "redis": False}, "servers": {"postgres": True, "redis": True}}


@pytest.fixture(params=STORES)
def mixed(own, request):
    return own(Mixed, **STORES[request.param])


@pytest.fixture
def life(mixed):
    with Sink() as sink:
        yield Life(mixed, sink)


def named_things(life):
    """What the methods of the next version are asked for: the name or id of one thing of each daemon."""
    tenant = life.tenant
    limit = tenant.get("/v1/limits").json()["limits"][0]["id"]
    made = tenant.post("/v1/caches", {"namespace": {"name": "mixed"}})
    assert made.status_code == 201, made.text
    return {"accountd": tenant.tenant_id, "ratelimitd": limit, "webhookd": "file.uploaded", "cached": "mixed"}


def test_an_installation_goes_to_the_next_version_and_back_daemon_by_daemon(mixed, life, following):
    """Forward, the old ingress meets new services; back, the new ingress meets old ones, and they the newer schemas."""
    life.goes_on()
    for name in SERVICES:
        mixed.change(name, following)
        life.goes_on()
    mixed.change("ingress", following)
    life.goes_on()
    things = named_things(life)
    for name in SERVICES:
        path = path_of_next(name, things[name])
        assert life.tenant.get(path).status_code == 200, f"{name}: {life.tenant.get(path).text}"
        mixed.change(name, BIN)
        life.goes_on()
        refused = life.tenant.get(path)
        assert refused.status_code == 501 and refused.headers["Content-Type"] == "application/problem+json"
        assert refused.json()["type"].endswith("unimplemented") and name in refused.json()["detail"], refused.text


def test_what_only_the_next_version_knows_is_ignored_by_this_one_and_kept(mixed, life, following):
    """A field in a request, in a row that the older version changes, and in a reply; a value of an enum, both ways."""
    plan = {"name": "next", "limits": [{"resource": "charts", "limit": 5, "window_ms": 60000, "strategy": "NEXT_STRATEGY"}]}
    operator = mixed.operator
    mixed.change("ingress", following)
    ignored = operator.post("/v1/tenants", {"name": "Early", "next_note": "kept?"})
    assert ignored.status_code == 201 and "next_note" not in ignored.json()
    refused = operator.post("/v1/plans", plan)
    assert refused.status_code == 400 and "strategy" in refused.text, refused.text
    mixed.change("accountd", following)
    noted = operator.post("/v1/tenants", {"name": "Noted", "next_note": "kept"}).json()
    assert noted["next_note"] == "kept"
    assert operator.post("/v1/plans", plan).status_code == 201
    mixed.change("ingress", BIN)
    seen = operator.get(f"/v1/tenants/{noted['id']}").json()
    assert seen["name"] == "Noted" and "next_note" not in seen
    assert operator.get("/v1/plans/next").json()["limits"][0]["strategy"] == 900
    life.goes_on()  # on the plan of its own; ratelimitd has read the other one, too
    mixed.change("accountd", BIN)
    assert operator.patch(f"/v1/tenants/{noted['id']}", {"name": "Renamed"}).status_code == 200
    life.goes_on()
    mixed.change("accountd", following)
    mixed.change("ingress", following)
    kept = operator.get(f"/v1/tenants/{noted['id']}").json()
    assert (kept["name"], kept["next_note"]) == ("Renamed", "kept")


def test_a_daemon_that_runs_does_not_mind_that_its_schema_becomes_newer(own, following):
    stack = own(Mixed, replicas={name: 2 for name in SERVICES})
    with Sink() as sink:
        life = Life(stack, sink)
        life.goes_on()
        for name in SERVICES:
            assert stack.by_name[name, 1].stop() == 0
            stack.programs[name] = following
            stack.start_daemon(name, 1)
            stack.until_connected(name)
            life.goes_on()
        versions = {name: int(stack.postgres.query(f"SELECT max(version) FROM {name}.schema_migrations")[0][0]) for name in SERVICES}
        assert versions == {name: len(list((SOURCE / f"services/{name}/schema").glob("*.sql"))) + 1 for name in SERVICES}


def test_an_installation_goes_from_the_released_version_to_this_one(own, released):
    stack = own(Mixed, programs={name: released for name in DAEMONS})
    with Sink() as sink:
        life = Life(stack, sink)
        for name in DAEMONS:
            life.goes_on()
            stack.change(name, BIN)
        life.goes_on()
        for name in SERVICES:
            stack.change(name, released)
            life.goes_on()
