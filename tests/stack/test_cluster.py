"""deploy/k8s on a real cluster, as an operator lives with it: applied, scaled, updated, drained, crashed, without its stores.

The cluster is the one that kubectl reaches, and only if CORBEL_CLUSTER is set (`./dev test --cluster` does): nobody's cluster
is touched by chance. Callers try once more after a 503 or a broken connection (compose.py); beyond that nothing may fail
while replicas come and go.
"""
import re
import time

import pytest
from cluster import Cluster, has_kinds_of, kubectl, read
from compose import DAEMONS
from engine import SOURCE, run
from load import Load
from stack import until
from test_stack import OUTAGE_S, pasted

STRANGER = """
apiVersion: v1
kind: Pod
metadata: {name: stranger}
spec:
  automountServiceAccountToken: false
  containers: [{name: stranger, image: IMAGE, command: [sleep, infinity]}]
"""


def served(cluster, service):
    """Calls that each replica has answered, by pod."""
    line = f'corbel_bus_server_calls_total{{service="{service}"'
    return {name: cluster.metric(name, line) or 0 for name in cluster.names(service)}


def works_until_all_are_busy(cluster, service):
    """Waits until every replica of the service has answered calls that were made from now on."""
    before = served(cluster, service)
    until(lambda: all(count > before.get(one, 0) for one, count in served(cluster, service).items()),
          f"calls reach every replica of {service}")


def behind_the_ingress(services=DAEMONS):
    return [name for name in services if name != "ingress"]


@pytest.fixture(scope="module")
def pairs(cluster):
    """Two replicas of each daemon, all of them known."""
    cluster.scale(**dict.fromkeys(DAEMONS, 2))
    for service in behind_the_ingress():
        cluster.until_reached(service)
    return cluster


def test_the_overlay_is_taken_without_a_warning_and_everything_comes_up(cluster):
    assert cluster.warned == []
    cluster.kubectl("wait", "--for=condition=complete", "job/migrate", "--timeout=60s")


@pytest.mark.parametrize("base", ["dev", "prod"])
def test_the_server_takes_each_overlay_with_every_component(cluster, base):
    components = ["hpa"] + (["prometheus-operator"] if has_kinds_of("monitoring.coreos.com") else [])
    assert cluster.try_apply(base, *components) == []


def test_the_calls_of_the_readme_work(cluster):
    ran = pasted(cluster)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert len(re.findall('^{"allowed":true', ran.stdout, re.M)) == 2 and re.search(r"^ratelimit:", ran.stdout, re.I | re.M), ran.stdout


def test_a_daemon_has_no_privileges_and_the_memory_that_its_manifest_says(cluster):
    units = {"Mi": 1 << 20, "Gi": 1 << 30}
    for service in DAEMONS:
        [one] = cluster.pods(service)
        name = one["metadata"]["name"]
        said = dict(line.split(":", 1) for line in cluster.run_in(name, "cat", "/proc/1/status").stdout.splitlines())
        assert said["Uid"].split()[0] == "65532" and said["NoNewPrivs"].strip() == "1" and said["Seccomp"].strip() == "2"
        assert {int(said[kind], 16) for kind in ("CapEff", "CapPrm", "CapBnd", "CapInh")} == {0}
        assert cluster.run_in(name, "touch", "/usr/written", check=False).returncode != 0
        assert cluster.run_in(name, "ls", "/var/run/secrets/kubernetes.io", check=False).returncode != 0
        number, unit = re.fullmatch(r"(\d+)(\w+)", one["spec"]["containers"][0]["resources"]["limits"]["memory"]).groups()
        limit = cluster.run_in(name, "sh", "-c", "cat /sys/fs/cgroup/memory.max /sys/fs/cgroup/memory/memory.limit_in_bytes 2>&-",
                               check=False).stdout.split()
        assert limit == [str(int(number) * units[unit])], service


def test_a_plugin_runs_confined_in_a_pod_of_its_own_daemon(cluster):
    ran = cluster.operator.post("/v1/plugins/run", {"code": "result = sum(context) * 2", "context": [20, 1]})
    assert ran.status_code == 200 and (ran.json()["outcome"], ran.json()["result"]) == ("OK", 42), ran.text
    layers = {layer["name"]: layer["state"] for layer in cluster.operator.get("/v1/plugins/isolation").json()["layers"]}
    assert {layers[name] for name in ("seccomp", "rlimits", "no_new_privs", "landlock")} == {"LAYER_ACTIVE"}, layers


def test_who_is_not_named_by_a_policy_reaches_nobody(cluster):
    cluster.tool(STRANGER)
    kubectl("-n", cluster.tools, "wait", "--for=condition=Ready", "pod/stranger", "--timeout=60s")
    at = {name: cluster.pods(name)[0]["status"]["podIP"] for name in ("accountd", "ingress", "postgres")}
    assert cluster.connects("stranger", at["ingress"], 8080, cluster.tools), "the API is for everybody"
    if cluster.connects("stranger", at["accountd"], 7100, cluster.tools):
        pytest.skip("the network of this cluster does not enforce policies")
    [ingress], [cached], [accountd] = (cluster.names(name) for name in ("ingress", "cached", "accountd"))
    assert not cluster.connects("stranger", at["postgres"], 5432, cluster.tools)
    assert not cluster.connects(ingress, at["postgres"], 5432), "the ingress needs no database"
    assert cluster.connects(accountd, at["postgres"], 5432) and cluster.connects(ingress, at["accountd"], 7100)
    # cached gets out to the public network as webhookd does; the tests let webhookd reach this machine, whose API it may be.
    api = read("-n", "default", "service", "kubernetes")["spec"]["clusterIP"]
    assert not cluster.connects(cached, api, 443) and not cluster.connects(accountd, api, 443)


def test_every_daemon_scales_by_itself_under_load_and_traffic_follows(cluster):
    with Load(cluster) as load:
        cluster.scale(**dict.fromkeys(DAEMONS, 3))
        for service in behind_the_ingress():
            assert cluster.until_reached(service) < 60
        for service in ("accountd", "ratelimitd", "cached", "webhookd"):
            works_until_all_are_busy(cluster, service)
        load.until_good(60)
        cluster.scale(**dict.fromkeys(DAEMONS, 1))
        for service in behind_the_ingress():
            assert cluster.until_reached(service) < 60
        load.until_good(60)
    assert load.odd(within_s=30) == []
    assert load.lost() == []


def test_a_rolling_restart_of_each_daemon_fails_no_call(pairs):
    with Load(pairs) as load:
        for service in DAEMONS:
            pairs.restart(service)
            load.until_good(60)
    assert load.odd(within_s=30) == []
    assert load.lost() == []


def test_an_update_of_the_configuration_replaces_all_without_a_failed_call(pairs):
    """By the commands of docs/kubernetes.md. The Job is made anew, and finds the schemas as they are to be."""
    before = {name for service in DAEMONS for name in pairs.names(service)}
    with Load(pairs) as load:
        pairs.kubectl("delete", "job", "migrate", "--ignore-not-found")
        assert pairs.update(CORBEL_LOG_LEVEL="debug") == []
        pairs.kubectl("wait", "--for=condition=complete", "job/migrate", "--timeout=120s", timeout=130)
        load.until_good(60)
    assert not before & {name for service in DAEMONS for name in pairs.names(service)}
    assert load.odd(within_s=30) == []
    assert load.lost() == []


def test_a_deleted_pod_is_replaced_without_a_failed_call(pairs):
    with Load(pairs) as load:
        for service in DAEMONS:
            pairs.kubectl("delete", "pod", pairs.names(service)[0])
            pairs.until_ready(service)
            load.until_good(60)
    assert load.odd(within_s=30) == []
    assert load.lost() == []


def test_one_replica_at_a_time_is_moved_away(pairs):
    for service in DAEMONS:
        first, second = pairs.names(service)
        assert pairs.evict(first)
        assert not pairs.evict(second), f"the budget of {service} lets both go"
    pairs.until_ready(*DAEMONS)


def test_a_node_is_drained_without_a_failed_call(pairs):
    if len(pairs.nodes) < 2:
        pytest.skip("the cluster has one node: what is drained has nowhere to go")
    for node in pairs.nodes:
        with Load(pairs) as load:
            try:
                kubectl("drain", node, "--pod-selector=app.kubernetes.io/name=corbel", "--delete-emptydir-data",
                        "--timeout=300s", timeout=310)
                assert not [one for service in DAEMONS for one in pairs.pods(service) if one["spec"]["nodeName"] == node]
                pairs.until_ready(*DAEMONS)
                load.until_good(60)
            finally:
                kubectl("uncordon", node)
        assert load.odd(within_s=30) == []
        assert load.lost() == []


def test_whoever_is_killed_comes_back_and_nothing_acknowledged_is_lost(cluster):
    cluster.scale(**dict.fromkeys(DAEMONS, 1))
    with Load(cluster) as load:
        for service in (*DAEMONS, "postgres", "redis"):
            [pod] = cluster.names(service)
            before = cluster.restarts(service)[pod]
            cluster.kill(pod)
            until(lambda: cluster.restarts(service).get(pod, 0) > before, f"{service} is started again", 120)
            cluster.until_ready(service)
            load.until_good(120)
    assert load.odd(0, 409, 503, 504, within_s=30) == []
    assert load.lost() == []


@pytest.mark.parametrize("store, statuses", [("redis", ()), ("postgres", (409, 503))])
def test_a_store_that_is_away_restarts_nobody_and_all_is_well_when_it_is_back(cluster, store, statuses):
    with Load(cluster) as load:
        before = cluster.restarts()
        cluster.kubectl("scale", f"statefulset/{store}", "--replicas=0")
        until(lambda: not cluster.read("pods", "-l", f"app.kubernetes.io/name={store}")["items"], f"{store} is gone", 120)
        time.sleep(OUTAGE_S)
        cluster.kubectl("scale", f"statefulset/{store}", "--replicas=1")
        cluster.until_ready(store)
        load.until_good(120)
        cluster.until_ready(*DAEMONS)
        assert cluster.restarts() == before, "none was restarted"
    assert load.odd(*statuses, within_s=30) == []
    assert load.lost() == []


def test_the_data_outlives_the_pods(cluster):
    tenant = cluster.tenant(plan="free", scopes=["*"])
    cluster.kubectl("delete", "pods", "--all", timeout=180)
    cluster.until_ready()
    until(lambda: cluster.operator.get(f"/v1/tenants/{tenant.tenant_id}").status_code == 200, "the tenant is there")
    assert cluster.client(tenant.key).get("/v1/keys").status_code == 200


def test_the_printed_commands_dump_the_database_and_restore_it_into_an_empty_one(cluster, tmp_path):
    page = (SOURCE / "docs/operations.md").read_text()
    dump = re.search(r"^\| Kubernetes \| `(.*?)`", page, re.M).group(1)
    restore = re.search(r"```sh\n(kubectl -n corbel scale.*?)```", page, re.S).group(1)

    def shell(lines):
        run("bash", "-euc", f"cd {tmp_path}\n" + lines.replace("-n corbel ", f"-n {cluster.namespace} "), timeout=600)

    kept = cluster.tenant(plan="free", scopes=["*"])
    shell(dump)
    later = cluster.tenant(plan="free", scopes=["*"])
    shell(restore)
    cluster.replicas.update(dict.fromkeys(DAEMONS, 2))
    cluster.until_ready()
    until(lambda: cluster.operator.get(f"/v1/tenants/{kept.tenant_id}").status_code == 200, "what was dumped is there")
    assert cluster.operator.get(f"/v1/tenants/{later.tenant_id}").status_code == 404
    assert cluster.client(kept.key).get("/v1/keys").status_code == 200
