"""docker-compose.yml as an operator lives with it: up, scaled, updated, crashed, without its stores, down and up again.

Callers try once more after a 503 or a broken connection (compose.py); beyond that nothing may fail while replicas come and go.
CORBEL_STACK_OUTAGE_S shortens the outages of the stores.
"""
import os
import re
import subprocess
import sys
import time

import pytest
from compose import DAEMONS, STORES, Compose
from engine import SOURCE
from load import Load
from stack import BIN, until

OUTAGE_S = float(os.environ.get("CORBEL_STACK_OUTAGE_S", 30))
E2E_S = 900
KEY_TTL_S = 30


def three_calls():
    """The calls of the README, as one pastes them."""
    return re.search(r"```sh\n(# 1\. .*?)```", (SOURCE / "README.md").read_text(), re.S).group(1)


def pasted(compose):
    return subprocess.run(["bash", "-euo", "pipefail", "-c", three_calls()], capture_output=True, text=True, timeout=60,
                          env={"CORBEL_URL": compose.url, "CORBEL_API_KEY": compose.admin_key, "PATH": os.environ["PATH"]})


def served(compose, service):
    """Calls that each replica has answered, by container."""
    line = f'corbel_bus_server_calls_total{{service="{service}"'
    return {c["Id"]: compose.metric(c, line) or 0 for c in compose.containers(service)}


def works_until_all_are_busy(compose, service):
    """Waits until every replica of the service has answered calls that were made from now on."""
    before = served(compose, service)
    until(lambda: all(count > before[one] for one, count in served(compose, service).items()),
          f"calls reach every replica of {service}")


def test_everything_comes_up_from_nothing_and_the_calls_of_the_readme_work(compose):
    ran = pasted(compose)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert len(re.findall('^{"allowed":true', ran.stdout, re.M)) == 2 and re.search(r"^ratelimit:", ran.stdout, re.I | re.M), ran.stdout


def test_no_container_has_privileges_and_only_the_ingress_is_published(compose):
    for service in (*STORES, *DAEMONS):
        for container in compose.containers(service):
            config, host = container["Config"], container["HostConfig"]
            assert config["User"] not in ("", "0", "root") and host["ReadonlyRootfs"] and host["CapDrop"] == ["ALL"]
            assert "no-new-privileges:true" in host["SecurityOpt"] and host["Memory"] > 0 and host["NanoCpus"] > 0
            ports = [bound for bound in container["NetworkSettings"]["Ports"].values() if bound]
            assert [[b["HostIp"] for b in bound] for bound in ports] == ([["127.0.0.1"]] if service == "ingress" else [])


def test_a_daemon_knows_no_secret_that_it_does_not_need(compose):
    secrets = {"CORBEL_ACCOUNTD_PEPPERS": {"accountd"}, "CORBEL_ACCOUNTD_BOOTSTRAP_KEY": {"accountd"},
               "CORBEL_WEBHOOKD_SECRETS": {"webhookd"}, "CORBEL_CACHED_SECRETS": {"cached"}}
    for service in DAEMONS:
        known = {line.split("=")[0] for line in compose.containers(service)[0]["Config"]["Env"]}
        assert {name for name in secrets if name in known} == {name for name, who in secrets.items() if service in who}
        assert ("CORBEL_STORE_URL" in known) == (service != "ingress")


def test_a_plugin_runs_confined_in_a_container_of_its_own_daemon(compose):
    ran = compose.operator.post("/v1/plugins/run", {"code": "result = sum(context) * 2", "context": [20, 1]})
    assert ran.status_code == 200 and (ran.json()["outcome"], ran.json()["result"]) == ("OK", 42), ran.text
    layers = {layer["name"]: layer["state"] for layer in compose.operator.get("/v1/plugins/isolation").json()["layers"]}
    assert {layers[name] for name in ("seccomp", "rlimits", "no_new_privs", "landlock")} == {"LAYER_ACTIVE"}, layers


@pytest.mark.skipif(not (BIN / "corbel").exists(), reason="nothing is built: the end-to-end tests use the command line")
def test_the_end_to_end_tests_pass_against_it(compose):
    ran = subprocess.run([sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", SOURCE / "tests/e2e"],
                         capture_output=True, text=True, timeout=E2E_S,
                         env={**os.environ, "CORBEL_E2E_URL": compose.url, "CORBEL_E2E_KEY": compose.admin_key,
                              "CORBEL_E2E_PEERS": compose.gateway()})
    assert ran.returncode == 0, ran.stdout[-12000:]
    passed = int(re.search(r"(\d+) passed", ran.stdout).group(1))
    assert passed >= 100, ran.stdout[-500:]


def test_replicas_come_and_go_under_load_without_a_failed_call(compose):
    services = [name for name in DAEMONS if name != "ingress"]
    with Load(compose) as load:
        compose.up(**dict.fromkeys(DAEMONS, 2) | {"ratelimitd": 3})
        for service in services:
            assert compose.until_reached(service) < 20
            works_until_all_are_busy(compose, service)
        load.until_good()
        compose.up(**dict.fromkeys(DAEMONS, 1))
        for service in services:
            assert compose.until_reached(service) < 20
        load.until_good()
    assert load.odd() == []
    assert load.broken == []
    assert load.lost() == []


def test_each_daemon_is_restarted_replica_by_replica_without_a_failed_call(compose):
    compose.up(**dict.fromkeys(DAEMONS, 2))
    for service in DAEMONS:
        compose.until_reached(service) if service != "ingress" else None
    with Load(compose) as load:
        for service in DAEMONS:
            for container in compose.ids(service):
                compose.restart(container)
                compose.until_healthy(service)
                if service != "ingress":
                    compose.until_reached(service)
                load.until_good()
    assert load.odd() == []
    assert load.broken == []
    assert load.lost() == []
    compose.up(**dict.fromkeys(DAEMONS, 1))


def test_whoever_is_killed_comes_back_and_nothing_acknowledged_is_lost(compose):
    with Load(compose) as load:
        for service in (*DAEMONS, *STORES):
            container = compose.ids(service)[0]
            compose.kill(container)
            until(lambda: compose.engine.inspect(container)[0]["RestartCount"] >= 1, f"{service} is started again")
            compose.until_healthy(service)
            load.until_good()
    assert load.odd(0, 409, 503, 504) == []
    assert load.lost() == []


def outage(compose, load, service, meanwhile=lambda: time.sleep(0.1)):
    """The service is away for a while, and `meanwhile` is done again and again; returns when all is well again."""
    starts = {one: compose.engine.inspect(one)[0]["State"]["StartedAt"] for name in DAEMONS for one in compose.ids(name)}
    compose.stop_service(service)
    end = time.monotonic() + OUTAGE_S
    while time.monotonic() < end:
        meanwhile()
    compose.start_service(service)
    compose.until_healthy(service)
    load.until_good()
    assert starts == {one: compose.engine.inspect(one)[0]["State"]["StartedAt"] for one in starts}, "none was restarted"


def test_without_redis_everything_goes_on_by_its_policy(compose):
    with Load(compose) as load:
        outage(compose, load, "redis")
        until(lambda: all(compose.metric(c, "corbel_redis_up") == 1 for c in compose.containers("ratelimitd")),
              "ratelimitd has Redis again")
    assert load.odd() == []
    assert load.lost() == []


def test_without_postgresql_checks_with_known_keys_go_on_and_the_rest_says_503(compose):
    """A key is believed for ingress.key_ttl, 30 s, from when it was verified: here that is just before."""
    seen = []
    with Load(compose) as load:
        caller = compose.client(load.tenant.post("/v1/keys", {"name": "fresh"}).json()["secret"])

        def check():
            began = time.monotonic()
            seen.append((began, caller.post("/v1/ratelimits/check", {"checks": [{"limit": "hot", "key": "fresh"}]}).status_code))
            time.sleep(0.1)
        check()
        outage(compose, load, "postgres", check)
    assert [status for began, status in seen if began < seen[0][0] + min(KEY_TTL_S - 5, OUTAGE_S) and status != 200] == []
    assert load.odd(409, 503) == []
    assert load.lost() == []


def test_down_and_up_again_keeps_the_data(compose):
    tenant = compose.tenant(plan="free", scopes=["*"])
    compose.down()
    compose.up()
    assert compose.operator.get(f"/v1/tenants/{tenant.tenant_id}").status_code == 200
    assert compose.client(tenant.key).get("/v1/keys").status_code == 200


def test_every_compose_that_is_here_brings_it_up(engine, image):
    for command in engine.composes()[1:]:
        made = Compose(engine, image, command)
        try:
            made.up()
            assert pasted(made).returncode == 0
            made.up(ratelimitd=2)
            made.until_reached("ratelimitd")
        finally:
            made.remove()
