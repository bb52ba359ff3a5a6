"""The manifests of deploy/k8s: rendered as kubectl does it, checked against Kubernetes' own models, and for what those do not say."""
import base64
import itertools
import os
import pathlib
import re
import shutil
import subprocess

import pytest
import yaml

SOURCE = pathlib.Path(os.environ.get("CORBEL_SOURCE", pathlib.Path(__file__).parents[2]))
SERVICES = sorted(re.findall(r"^corbel_service\((\w+)", (SOURCE / "CMakeLists.txt").read_text(), re.M))
BIN = pathlib.Path(os.environ.get("CORBEL_BIN", SOURCE / "build/bin"))
COMPONENTS = ["hpa", "prometheus-operator"]
SECRETS = {"corbel-stores", "corbel-accountd", "corbel-webhookd", "corbel-cached"}

needs_kubectl = pytest.mark.skipif(not shutil.which("kubectl"), reason="there is no kubectl, which renders the manifests")
pytestmark = needs_kubectl


def render(folder):
    ran = subprocess.run(["kubectl", "kustomize", folder], capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    assert "deprecated" not in ran.stderr, ran.stderr
    return [one for one in yaml.safe_load_all(ran.stdout) if one]


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    """A copy with secrets made, and an overlay on top of each of ours that has everything optional."""
    k8s = tmp_path_factory.mktemp("deploy") / "k8s"
    shutil.copytree(SOURCE / "deploy/k8s", k8s, ignore=shutil.ignore_patterns("secrets"))
    for name in ("new-env.sh",):
        shutil.copy(SOURCE / "deploy" / name, k8s.parent)
    shutil.copy(SOURCE / ".env.example", k8s.parent.parent)
    subprocess.run([k8s / "new-secrets.sh"], check=True)
    for overlay in ("dev", "prod"):
        full = k8s / "overlays" / f"{overlay}-full"
        full.mkdir()
        (full / "kustomization.yaml").write_text(yaml.safe_dump({
            "resources": [f"../{overlay}"], "components": [f"../../components/{name}" for name in COMPONENTS],
            "namespace": "elsewhere",
            "images": [{"name": "corbel", "newName": "registry.example.com/corbel", "newTag": "1.2.3"}]}))
    return k8s


class Rendered:
    def __init__(self, name, objects):
        self.name, self.objects = name, objects

    def kind(self, *kinds):
        return [one for one in self.objects if one["kind"] in kinds]

    def one(self, kind, name):
        found = [one for one in self.kind(kind) if one["metadata"]["name"] == name]
        assert len(found) == 1, f"{self.name}: {len(found)} of {kind} {name}"
        return found[0]

    def pods(self):
        """What holds a pod, and the pod's template."""
        return [(one, one["spec"]["template"]) for one in self.kind("Deployment", "StatefulSet", "DaemonSet", "Job")]

    def containers(self):
        for holder, pod in self.pods():
            for container in pod["spec"].get("initContainers", []) + pod["spec"]["containers"]:
                yield f"{self.name}: {holder['kind']} {holder['metadata']['name']}, {container['name']}", container

    def config(self):
        return next(one for one in self.kind("ConfigMap") if one["metadata"]["name"].startswith("corbel-"))["data"]


@pytest.fixture(scope="module", params=["dev", "prod", "dev-full", "prod-full"])
def overlay(request, tree):
    return Rendered(request.param, render(tree / "overlays" / request.param))


def labels_of(pod):
    return pod["metadata"]["labels"]


def selects(selector, labels):
    """A label selector, both kinds of saying it."""
    if not all(labels.get(key) == value for key, value in selector.get("matchLabels", {}).items()):
        return False
    for said in selector.get("matchExpressions", []):
        is_in = labels.get(said["key"]) in said["values"]
        assert said["operator"] in ("In", "NotIn")
        if is_in != (said["operator"] == "In"):
            return False
    return True


# ---------------------------------------------------------------- schema

MODELS = {
    ("v1", "ConfigMap"): "V1ConfigMap", ("v1", "Namespace"): "V1Namespace", ("v1", "Secret"): "V1Secret",
    ("v1", "Service"): "V1Service", ("apps/v1", "Deployment"): "V1Deployment",
    ("apps/v1", "StatefulSet"): "V1StatefulSet", ("batch/v1", "Job"): "V1Job",
    ("policy/v1", "PodDisruptionBudget"): "V1PodDisruptionBudget",
    ("networking.k8s.io/v1", "NetworkPolicy"): "V1NetworkPolicy",
    # Its second version has the same fields in its beta, which older packages of the models have.
    ("autoscaling/v2", "HorizontalPodAutoscaler"): ("V2HorizontalPodAutoscaler", "V2beta2HorizontalPodAutoscaler"),
}
# Of the Prometheus operator, whose models no package has: what we use of them.
CUSTOM = {
    ("monitoring.coreos.com/v1", "ServiceMonitor"): {"jobLabel": str, "selector": dict, "endpoints": list},
    ("monitoring.coreos.com/v1", "PrometheusRule"): {"groups": list},
}
SIMPLE = {"str": str, "int": int, "bool": bool, "float": (int, float)}


def complaints(models, kind, value, path):
    """What the models say against a value: a field that is unknown, of another type, missing, or not one of its values."""
    listed, mapped = re.fullmatch(r"list\[(.+)\]", kind), re.fullmatch(r"dict\((\w+), (.+)\)", kind)
    if listed or mapped:
        if not isinstance(value, list if listed else dict):
            return [f"{path}: {value!r} is no {kind}"]
        pairs = enumerate(value) if listed else value.items()
        return [c for key, item in pairs for c in complaints(models, (listed or mapped).groups()[-1], item, f"{path}.{key}")]
    if kind == "object":
        return []
    if kind in ("datetime", "date"):
        return [f"{path}: is the cluster's to say"]
    if kind in SIMPLE:
        fits = isinstance(value, SIMPLE[kind]) and isinstance(value, bool) == (kind == "bool")
        return [] if fits else [f"{path}: {value!r} is no {kind}"]
    model, found, arguments = getattr(models, kind), [], {}
    if not isinstance(value, dict):
        return [f"{path}: {value!r} is no {kind}"]
    names = {json: python for python, json in model.attribute_map.items()}
    for key, item in value.items():
        if key not in names:
            found.append(f"{path}.{key}: is unknown to {kind}")
            continue
        found += complaints(models, model.openapi_types[names[key]], item, f"{path}.{key}")
        arguments[names[key]] = item
    try:
        model(**arguments)
    except ValueError as error:
        found.append(f"{path}: {error}")
    return found


def schema_complaints(models, one):
    key = one["apiVersion"], one["kind"]
    where = f"{one['kind']} {one['metadata']['name']}"
    if key in CUSTOM:
        return [f"{where}.{name}" for name, value in one["spec"].items() if not isinstance(value, CUSTOM[key].get(name, ()))]
    assert key in MODELS, f"say in MODELS what {key} is"
    wanted = MODELS[key] if isinstance(MODELS[key], tuple) else (MODELS[key],)
    return complaints(models, next(name for name in wanted if hasattr(models, name)), one, where)


@pytest.fixture(scope="module")
def models():
    return pytest.importorskip("kubernetes.client.models", reason="there is no python3-kubernetes, which has the models")


def test_every_object_is_one_that_kubernetes_knows(overlay, models):
    assert [c for one in overlay.objects for c in schema_complaints(models, one)] == []


def test_the_schema_check_finds_what_is_wrong(tree, models):
    def broken(change):
        one = next(o for o in render(tree / "overlays/dev") if o["kind"] == "Deployment")
        change(one["spec"], one["spec"]["template"]["spec"])
        return schema_complaints(models, one)

    assert broken(lambda spec, pod: None) == []
    assert broken(lambda spec, pod: pod.update(hostNetwrok=False))
    assert broken(lambda spec, pod: spec.update(minReadySeconds="5"))
    assert broken(lambda spec, pod: spec.pop("selector"))
    assert broken(lambda spec, pod: pod["containers"][0]["ports"][0].pop("containerPort"))


def test_objects_have_names_of_their_own_and_the_overlays_namespace(overlay):
    names = [(one["kind"], one["metadata"]["name"]) for one in overlay.objects]
    assert len(names) == len(set(names))
    namespace = "elsewhere" if overlay.name.endswith("full") else "corbel"
    for one in overlay.objects:
        if one["kind"] == "Namespace":
            assert one["metadata"]["name"] == namespace
            assert one["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"
        else:
            assert one["metadata"]["namespace"] == namespace, one["metadata"]["name"]


# ---------------------------------------------------------------- every daemon

def test_every_service_of_the_build_has_its_manifests(overlay):
    daemons = {one["metadata"]["name"] for one in overlay.kind("Deployment")}
    assert daemons == set(SERVICES), "deploy/k8s/base and the list in CMakeLists.txt differ"
    for name in SERVICES:
        overlay.one("PodDisruptionBudget", name)
        container = overlay.one("Deployment", name)["spec"]["template"]["spec"]["containers"][0]
        assert container["command"] == [name]
        assert overlay.one("Service", name)["spec"]["clusterIP"] == "None", "callers look all addresses up"
        if overlay.name.endswith("full"):
            overlay.one("HorizontalPodAutoscaler", name)
    if overlay.name.endswith("full"):
        assert len(overlay.kind("HorizontalPodAutoscaler")) == len(SERVICES)


def test_callers_find_a_daemon_where_it_listens(overlay):
    config = overlay.config()
    for kind, port in (("BUS", 7100), ("PUB", 7101)):
        assert config[f"CORBEL_{kind}_TEMPLATE"] == f"tcp://{{name}}:{port}"
        assert config[f"CORBEL_{kind}_LISTEN"] == f"tcp://0.0.0.0:{port}"
    for name in SERVICES:
        ports = {p["name"]: p["port"] for p in overlay.one("Service", name)["spec"]["ports"]}
        assert ports == {"bus": 7100, "pub": 7101, "admin": 9600}
        container = overlay.one("Deployment", name)["spec"]["template"]["spec"]["containers"][0]
        assert ports.items() <= {p["name"]: p["containerPort"] for p in container["ports"]}.items()
    assert config["CORBEL_ADMIN_LISTEN"].endswith(":9600") and config["CORBEL_INGRESS_LISTEN"].endswith(":8080")
    api = overlay.one("Service", "api")["spec"]
    assert "clusterIP" not in api and api["ports"][0]["targetPort"] == "http"


def test_selectors_choose_exactly_the_pods_that_are_meant(overlay):
    def chosen(labels_wanted):
        return sorted(holder["metadata"]["name"] for holder, pod in overlay.pods()
                      if selects({"matchLabels": labels_wanted}, labels_of(pod)))

    for holder, pod in overlay.pods():
        if holder["kind"] != "Job":
            assert chosen(holder["spec"]["selector"]["matchLabels"]) == [holder["metadata"]["name"]]
        for spread in pod["spec"].get("topologySpreadConstraints", []):
            assert chosen(spread["labelSelector"]["matchLabels"]) == [holder["metadata"]["name"]]
    for one in overlay.kind("Service"):
        name = one["metadata"]["name"]
        assert chosen(one["spec"]["selector"]) == ["ingress" if name == "api" else name]
    for one in overlay.kind("PodDisruptionBudget"):
        assert chosen(one["spec"]["selector"]["matchLabels"]) == [one["metadata"]["name"]]
    for one in overlay.kind("HorizontalPodAutoscaler"):
        target = one["spec"]["scaleTargetRef"]
        assert (target["kind"], target["name"]) == ("Deployment", one["metadata"]["name"])


def test_the_printed_restore_stops_every_daemon_and_waits_for_them_alone(overlay):
    """`scale deploy --all` stops what is a Deployment; what the label chooses has to be gone then."""
    block = re.search(r"```sh\n(kubectl -n corbel scale.*?)```", (SOURCE / "docs/operations.md").read_text(), re.S).group(1)
    there, other = re.search(r"-l '(\S+),(\S+)'", block).groups()
    key, unwanted = other.split("!=")
    assert there == key
    for holder, pod in overlay.pods():
        is_chosen = labels_of(pod).get(key, unwanted) != unwanted
        assert is_chosen == (holder["kind"] == "Deployment"), holder["metadata"]["name"]
    stores = {one["metadata"]["name"] for one in overlay.kind("StatefulSet")}
    assert not stores or set(re.findall(r"exec (?:-i )?(\S+)-0 ", block)) <= stores


def test_every_port_says_its_protocol_and_every_target_is_a_port_of_the_pod(overlay):
    for where, container in overlay.containers():
        assert all("protocol" in port and "name" in port for port in container.get("ports", [])), where
    for one in overlay.kind("Service"):
        [pod] = [pod for _, pod in overlay.pods() if selects({"matchLabels": one["spec"]["selector"]}, labels_of(pod))]
        named = {port["name"] for port in pod["spec"]["containers"][0]["ports"]}
        for port in one["spec"]["ports"]:
            assert port["protocol"] == "TCP" and port["targetPort"] in named, one["metadata"]["name"]


def test_a_daemon_is_restarted_for_its_life_and_asked_by_its_readiness(overlay):
    for name in SERVICES:
        container = overlay.one("Deployment", name)["spec"]["template"]["spec"]["containers"][0]
        asked = {kind: container[f"{kind}Probe"]["httpGet"] for kind in ("startup", "liveness", "readiness")}
        assert asked == {"startup": {"path": "/livez", "port": "admin"}, "liveness": {"path": "/livez", "port": "admin"},
                         "readiness": {"path": "/readyz", "port": "admin"}}


def seconds(text):
    number, unit = re.fullmatch(r"(\d+)(ms|s|m)", text).groups()
    return int(number) * {"ms": 0.001, "s": 1, "m": 60}[unit]


def default_of(option):
    row = re.search(rf"^\| `{re.escape(option)}` \| `([^`]*)`", (SOURCE / "docs/configuration.md").read_text(), re.M)
    return row[1]


def test_a_replaced_replica_leaves_after_its_successor_is_known_and_has_time_to_finish(overlay):
    config = overlay.config()
    delay = seconds(config["CORBEL_DRAIN_DELAY"])
    grace = seconds(config.get("CORBEL_DRAIN_GRACE", default_of("drain.grace")))
    for name in SERVICES:
        spec = overlay.one("Deployment", name)["spec"]
        assert spec["strategy"]["rollingUpdate"] == {"maxUnavailable": 0, "maxSurge": 1}
        assert spec["minReadySeconds"] > seconds(default_of("bus.resolve"))
        pod = spec["template"]["spec"]
        assert pod["terminationGracePeriodSeconds"] >= delay + grace + 5 # the last telemetry
        probe = pod["containers"][0]["readinessProbe"]
        assert delay >= probe["periodSeconds"] * probe["failureThreshold"], "the cluster sees it before it refuses"


def test_production_has_three_of_each_or_what_the_autoscaler_says(overlay):
    wanted = {"dev": None, "prod": 3}.get(overlay.name) # the autoscaler's when it is there
    assert {one["metadata"]["name"]: one["spec"].get("replicas") for one in overlay.kind("Deployment")} == dict.fromkeys(SERVICES, wanted)
    for one in overlay.kind("HorizontalPodAutoscaler"):
        assert one["spec"]["minReplicas"] >= 3 and one["spec"]["behavior"]["scaleDown"]["stabilizationWindowSeconds"] >= 300


def test_daemons_run_the_same_image_and_no_image_moves(overlay):
    images = {pod["spec"]["containers"][0]["image"] for holder, pod in overlay.pods()
              if labels_of(pod)["app.kubernetes.io/name"] == "corbel"}
    assert images == {"registry.example.com/corbel:1.2.3" if overlay.name.endswith("full") else "corbel:local"}
    for where, container in overlay.containers():
        assert re.search(r":[\w.-]+$", container["image"]) and not container["image"].endswith(":latest"), where


# ---------------------------------------------------------------- trust

def test_every_pod_fits_the_restricted_profile(overlay):
    for holder, pod in overlay.pods():
        name, spec = holder["metadata"]["name"], pod["spec"]
        assert spec["automountServiceAccountToken"] is False, name
        assert spec["enableServiceLinks"] is False, f"{name}: variables of Services would be taken for options"
        assert not {"hostNetwork", "hostPID", "hostIPC"} & spec.keys(), name
        security = spec["securityContext"]
        assert security["runAsNonRoot"] is True and security["runAsUser"] > 0, name
        assert security["seccompProfile"] == {"type": "RuntimeDefault"}, name
        for volume in spec.get("volumes", []):
            assert "sizeLimit" in volume["emptyDir"], f"{name}: {volume['name']}"
    for where, container in overlay.containers():
        assert container["securityContext"] == {"allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True,
                                                "capabilities": {"drop": ["ALL"]}}, where


def test_the_files_of_a_store_keep_their_rights_when_its_pod_is_replaced(overlay):
    """Given to the group once more, the directory of PostgreSQL would be one that it refuses."""
    for store in overlay.kind("StatefulSet"):
        security = store["spec"]["template"]["spec"]["securityContext"]
        assert security["fsGroup"] > 0 and security["fsGroupChangePolicy"] == "OnRootMismatch", store["metadata"]["name"]


def test_every_container_says_what_it_needs_and_may_not_take_more_memory(overlay):
    for where, container in overlay.containers():
        resources = container["resources"]
        assert {"cpu", "memory"} <= resources["requests"].keys() and resources["limits"].keys() == {"memory"}, where


def test_secrets_come_by_reference_to_those_who_need_them(overlay):
    made = {one["metadata"]["name"] for one in overlay.kind("Secret", "ConfigMap")}
    asked = {}
    for holder, pod in overlay.pods():
        container = pod["spec"]["containers"][0]
        names = [source[kind]["name"] for source in container.get("envFrom", []) for kind in source]
        asked[holder["metadata"]["name"]] = {re.sub(r"-[a-z0-9]{10}$", "", name) for name in names} - {"corbel"}
        if overlay.name.startswith("dev"):
            assert set(names) <= made, holder["metadata"]["name"]
        for variable in container.get("env", []):
            assert not re.search("PASSWORD|SECRETS|PEPPERS|KEY$", variable["name"]) or "valueFrom" in variable
    stores = {"corbel-stores"}
    assert asked.pop("ingress") == set() and asked.pop("ratelimitd") == asked.pop("sandboxd") == asked.pop("migrate") == stores
    for name in ("accountd", "webhookd", "cached"):
        assert asked.pop(name) == stores | {f"corbel-{name}"}
    assert set(asked) <= {"postgres", "redis"} and all(names == {name} for name, names in asked.items())
    assert bool(overlay.kind("Secret")) == overlay.name.startswith("dev")


def environment(overlay, container):
    """What the container's program gets, from the objects of the overlay."""
    said = {}
    for source in container.get("envFrom", []):
        for kind, object_kind in (("configMapRef", "ConfigMap"), ("secretRef", "Secret")):
            if kind in source:
                data = overlay.one(object_kind, source[kind]["name"])["data"]
                said |= {k: v if kind == "configMapRef" else base64.b64decode(v).decode() for k, v in data.items()}
    return said | {one["name"]: one["value"] for one in container.get("env", [])}


def test_every_daemon_takes_the_configuration_that_it_is_given(tree):
    overlay = Rendered("dev", render(tree / "overlays/dev"))
    page = (SOURCE / "docs/configuration.md").read_text()
    known = {"CORBEL_" + name.upper().replace(".", "_") for name in re.findall(r"^\| `([a-z_.]+)` \|", page, re.M)}
    for name in SERVICES:
        said = environment(overlay, overlay.one("Deployment", name)["spec"]["template"]["spec"]["containers"][0])
        assert said.keys() <= known, f"{name}: {said.keys() - known}"
        ran = subprocess.run([BIN / name, "--check-config"], env=said | {"HOME": "/"}, capture_output=True, text=True)
        assert ran.returncode == 0, f"{name}: {ran.stderr}"


def test_a_change_of_configuration_or_secrets_replaces_the_pods(overlay):
    for one in overlay.kind("ConfigMap", "Secret"):
        assert re.search(r"-[a-z0-9]{10}$", one["metadata"]["name"]), "no hash of its content"


def test_the_migration_runs_from_the_image_before_it_is_needed_and_ends(overlay):
    job = overlay.one("Job", "migrate")["spec"]
    container = job["template"]["spec"]["containers"][0]
    assert container["command"] == ["corbel", "migrate"] and job["template"]["spec"]["restartPolicy"] == "OnFailure"
    assert not any(selects({"matchLabels": one["spec"]["selector"]}, labels_of(job["template"])) for one in overlay.kind("Service"))


# ---------------------------------------------------------------- who may reach whom

def allows(overlay, direction, pod, peer, port, protocol="TCP"):
    """Whether policies let a pod talk with a peer: {"pod": labels}, {"namespace": name} or {"address": text}."""
    mine = [one["spec"] for one in overlay.kind("NetworkPolicy")
            if selects(one["spec"]["podSelector"], pod) and direction in one["spec"]["policyTypes"]]
    key, side = ("ingress", "from") if direction == "Ingress" else ("egress", "to")
    return not mine or any(
        ("ports" not in rule or any(p.get("port", port) == port and p["protocol"] == protocol for p in rule["ports"]))
        and (side not in rule or any(is_peer(said, peer) for said in rule[side]))
        for spec in mine for rule in spec.get(key, []))


def is_peer(said, peer):
    if "ipBlock" in said:
        return "address" in peer and in_block(peer["address"], said["ipBlock"])
    if "namespaceSelector" in said:
        return "namespace" in peer and selects(said["namespaceSelector"], {"kubernetes.io/metadata.name": peer["namespace"]})
    return "pod" in peer and selects(said["podSelector"], peer["pod"])


def in_block(address, block):
    import ipaddress
    at = ipaddress.ip_address(address)
    return at in ipaddress.ip_network(block["cidr"]) and not any(at in ipaddress.ip_network(n) for n in block.get("except", []))


def test_daemons_reach_each_other_and_nobody_else_reaches_them(overlay):
    pods = {holder["metadata"]["name"]: labels_of(pod) for holder, pod in overlay.pods()}
    stranger = {"app": "stranger"}
    for caller, called in itertools.permutations(SERVICES, 2):
        for port in (7100, 7101):
            assert allows(overlay, "Egress", pods[caller], {"pod": pods[called]}, port)
            assert allows(overlay, "Ingress", pods[called], {"pod": pods[caller]}, port)
    for name, labels in pods.items():
        for port in (7100, 7101, 9600, 5432, 6379):
            assert not allows(overlay, "Ingress", labels, {"pod": stranger}, port), f"{name}:{port}"
        assert allows(overlay, "Egress", labels, {"namespace": "kube-system"}, 53, "UDP"), name
        assert allows(overlay, "Ingress", labels, {"pod": stranger}, 8080) == (name == "ingress")
    assert not allows(overlay, "Ingress", stranger, {"pod": pods["ingress"]}, 80), "what is not named is denied"


def test_only_who_calls_out_gets_out_and_never_to_private_networks(overlay):
    pods = {holder["metadata"]["name"]: labels_of(pod) for holder, pod in overlay.pods()}
    for name, labels in pods.items():
        assert allows(overlay, "Egress", labels, {"address": "93.184.216.34"}, 443) == (name in ("webhookd", "cached"))
        for address in ("169.254.169.254", "10.0.0.1", "192.168.1.1", "127.0.0.1", "fd00::1"):
            assert not allows(overlay, "Egress", labels, {"address": address}, 443), f"{name} to {address}"
        has_store = name not in ("ingress", "postgres", "redis")
        assert allows(overlay, "Egress", labels, {"address": "10.0.0.1"}, 5432) == has_store, name
        if name in SERVICES:
            assert allows(overlay, "Ingress", labels, {"namespace": "monitoring"}, 9600), name
    if overlay.name.startswith("dev"):
        assert allows(overlay, "Ingress", pods["postgres"], {"pod": pods["accountd"]}, 5432)
        assert allows(overlay, "Ingress", pods["redis"], {"pod": pods["ratelimitd"]}, 6379)


# ---------------------------------------------------------------- what is said twice

def test_the_alerts_of_the_operator_are_those_of_prometheus(overlay):
    """`./dev docs` renews them."""
    for rule in overlay.kind("PrometheusRule"):
        assert rule["spec"] == yaml.safe_load((SOURCE / "deploy/prometheus/alerts.yml").read_text())
    for monitor in overlay.kind("ServiceMonitor"):
        watched = [one for one in overlay.kind("Service") if selects(monitor["spec"]["selector"], one["metadata"]["labels"])]
        ported = {one["metadata"]["name"] for one in watched if any(p["name"] == "admin" for p in one["spec"]["ports"])}
        assert ported == set(SERVICES)
        assert all(one["metadata"]["labels"][monitor["spec"]["jobLabel"]] == "corbel" for one in watched)


def test_the_page_names_every_secret():
    page = (SOURCE / "docs/kubernetes.md").read_text()
    for name in SECRETS:
        assert f"`{name}`" in page
