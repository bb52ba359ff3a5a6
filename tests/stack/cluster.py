"""deploy/k8s on the cluster that kubectl reaches, in a namespace of its own: the overlay dev, scaled, updated, hurt and removed.
It has the address, admin key and clients that stacks of the end-to-end tests have, so their traffic runs against it.

The API is asked at a port of a node. What the tests add to the overlay is in _overlay(), and nothing else differs from what
docs/kubernetes.md says. A second namespace has pods with more privileges than Corbel's: one a node, which kills processes.
"""
import json
import os
import re
import shutil
import socket
import subprocess
import time

import yaml
from compose import DAEMONS, STORES, Caller
from engine import SOURCE, Missing, run
from stack import Stack, until

IMAGE = os.environ.get("CORBEL_CLUSTER_IMAGE", "corbel:local")
COMPONENT, PART = "app.kubernetes.io/component", "app.kubernetes.io/part-of=corbel"
READY_S = 300
# The tests read metrics, and receive webhooks: what an operator's own policies are for.
POLICIES = """
- {apiVersion: networking.k8s.io/v1, kind: NetworkPolicy, metadata: {name: tests-read-metrics},
   spec: {podSelector: {matchLabels: {app.kubernetes.io/name: corbel}}, policyTypes: [Ingress],
          ingress: [{ports: [{port: 9600, protocol: TCP}]}]}}
- {apiVersion: networking.k8s.io/v1, kind: NetworkPolicy, metadata: {name: tests-get-webhooks},
   spec: {podSelector: {matchLabels: {app.kubernetes.io/component: webhookd}}, policyTypes: [Egress],
          egress: [{to: [{ipBlock: {cidr: PEER/32}}], ports: [{protocol: TCP}]}]}}
"""
# Sees the processes of its node.
REAPER = """
apiVersion: apps/v1
kind: DaemonSet
metadata: {name: reaper}
spec:
  selector: {matchLabels: {app: reaper}}
  template:
    metadata: {labels: {app: reaper}}
    spec:
      hostPID: true
      automountServiceAccountToken: false
      terminationGracePeriodSeconds: 0
      containers:
        - {name: reaper, image: IMAGE, command: [sleep, infinity], securityContext: {runAsUser: 0, privileged: true}}
"""


def kubectl(*words, stdin=None, timeout=120, check=True):
    ran = subprocess.run(["kubectl", *map(str, words)], input=stdin, capture_output=True, text=True, timeout=timeout)
    assert not check or ran.returncode == 0, f"kubectl {' '.join(map(str, words))}\n{ran.stdout[-2000:]}\n{ran.stderr[-4000:]}"
    return ran


def read(*words):
    return json.loads(kubectl("get", *words, "-o", "json").stdout)


class Cluster(Stack):
    def __init__(self):
        self._look()
        super().__init__()
        self.namespace = f"corbel-test-{os.getpid()}"
        self.tools, self.empty = f"{self.namespace}-tools", f"{self.namespace}-empty"
        self.replicas = dict.fromkeys(DAEMONS, 1)
        self.k8s = self.directory / "deploy/k8s"
        shutil.copytree(SOURCE / "deploy", self.directory / "deploy", ignore=shutil.ignore_patterns("secrets"))
        shutil.copy(SOURCE / ".env.example", self.directory)
        run(self.k8s / "new-secrets.sh")
        secrets = (self.k8s / "overlays/dev/secrets/accountd.env").read_text()
        self.admin_key = re.search("^CORBEL_ACCOUNTD_BOOTSTRAP_KEY=(.*)$", secrets, re.M).group(1)
        self.urls = []

    def _look(self):
        if not shutil.which("kubectl"):
            raise Missing("there is no kubectl")
        if kubectl("get", "--raw", "/readyz", check=False).returncode != 0:
            raise Missing("kubectl reaches no cluster that is ready")
        nodes = [one for one in read("nodes")["items"] if not one["spec"].get("unschedulable")]
        self.nodes = {one["metadata"]["name"]: next(a["address"] for a in one["status"]["addresses"] if a["type"] == "InternalIP")
                      for one in nodes}
        if not self.nodes:
            raise Missing("the cluster has no node")
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:  # nothing is sent
            probe.connect((next(iter(self.nodes.values())), 9))
            self.peer = os.environ.get("CORBEL_CLUSTER_PEER", probe.getsockname()[0])

    def _overlay(self, name="test", base="dev", components=(), literals=(), namespace=None):
        """Writes an overlay as an operator does, on top of one of ours; returns its folder."""
        folder = self.k8s / "overlays" / name
        folder.mkdir(exist_ok=True)
        image, tag = IMAGE.rsplit(":", 1)
        config = ["CORBEL_INGRESS_ANONYMOUS_PER_MINUTE=0", "CORBEL_INGRESS_CONNECTIONS_PER_ADDRESS=0",
                  "CORBEL_CACHED_REDIS_PATIENCE=1s", "CORBEL_REDIS_TIMEOUT=1s", f"CORBEL_WEBHOOKD_ALLOW={self.peer}/32"]
        (folder / "policies.yaml").write_text(yaml.safe_dump_all(yaml.safe_load(POLICIES.replace("PEER", self.peer))))
        (folder / "kustomization.yaml").write_text(yaml.safe_dump({
            "namespace": namespace or self.namespace, "resources": [f"../{base}", "policies.yaml"],
            "components": [f"../../components/{one}" for one in components],
            "images": [{"name": "corbel", "newName": image, "newTag": tag}],
            "configMapGenerator": [{"name": "corbel", "behavior": "merge", "namespace": "corbel",
                                    "literals": [*config, *literals]}],
            "patches": [{"target": {"kind": "Service", "name": "api"},
                         "patch": '[{"op": "add", "path": "/spec/type", "value": "NodePort"}]'}]}))
        return folder

    # ---- what there is

    def read(self, *words):
        return read("-n", self.namespace, *words)

    def kubectl(self, *words, **how):
        return kubectl("-n", self.namespace, *words, **how)

    def pods(self, service):
        """Those that are there to stay."""
        label = f"{COMPONENT}={service}" if service in DAEMONS else f"app.kubernetes.io/name={service}"
        return [one for one in self.read("pods", "-l", label)["items"] if "deletionTimestamp" not in one["metadata"]]

    def names(self, service):
        return sorted(one["metadata"]["name"] for one in self.pods(service))

    def run_in(self, pod, *argv, check=True):
        return self.kubectl("exec", pod, "--", *argv, check=check)

    def metric(self, pod, line):
        """The sum of the lines of a pod's metrics that begin so; None when there is none."""
        ran = kubectl("get", "--raw", f"/api/v1/namespaces/{self.namespace}/pods/{pod}:9600/proxy/metrics", check=False)
        found = re.findall(rf"^{re.escape(line)}\S* (\S+)", ran.stdout, re.M)
        return sum(map(float, found)) if found else None

    def gateway(self):
        """The address of this machine that pods reach."""
        return self.peer

    def client(self, key=None):
        return Caller(self, key)

    def restarts(self, *services):
        """How often each pod's program was started again."""
        return {one["metadata"]["name"]: one["status"]["containerStatuses"][0]["restartCount"]
                for service in services or DAEMONS for one in self.pods(service)}

    # ---- what is done to it

    def apply(self, folder, *options):
        """Returns what kubectl warned of."""
        ran = kubectl("apply", "--validate=strict", "-k", folder, *options)
        return [line for line in ran.stderr.splitlines() if line.strip()]

    def update(self, **config):
        """Applies the overlay as it is now, with more options in it, and without a number of replicas that it does not say."""
        warned = self.apply(self._overlay(literals=[f"{name}={value}" for name, value in config.items()]))
        self.until_ready()
        return warned

    def up(self):
        """Brings it up by the overlay; returns what kubectl warned of."""
        warned = self.update()
        port = self.read("service", "api")["spec"]["ports"][0]["nodePort"]
        self.urls = [f"http://{address}:{port}" for address in self.nodes.values()]
        self.url = self.urls[0]
        until(self.is_ready, "the API answers")
        return warned

    def try_apply(self, base, *components):
        """Whether the server would take an overlay with components in an empty namespace; returns what it warned of."""
        kubectl("create", "namespace", self.empty, check=False)
        kubectl("label", "--overwrite", "namespace", self.empty, *(f"pod-security.kubernetes.io/{how}=restricted"
                                                                   for how in ("enforce", "warn")))
        folder = self._overlay(f"{base}-full", base, components, namespace=self.empty)
        return self.apply(folder, "--dry-run=server", "--server-side")

    def tool(self, text):
        """Makes what is described, where Corbel's rules do not hold."""
        kubectl("create", "namespace", self.tools, check=False)
        kubectl("-n", self.tools, "apply", "-f", "-", stdin=text.replace("IMAGE", IMAGE))

    def scale(self, **replicas):
        self.replicas.update(replicas)
        for name, count in replicas.items():
            self.kubectl("scale", f"deployment/{name}", f"--replicas={count}")
        self.until_ready(*replicas)

    def until_ready(self, *services):
        """Waits until as many replicas as are wanted are there, all of the newest kind, ready and known."""
        def is_ready(name):
            one = self.read("deployment" if name in DAEMONS else "statefulset", name)
            status, wanted = one["status"], self.replicas.get(name, 1)
            seen = {status.get(kind, 0) for kind in ("replicas", "updatedReplicas", "readyReplicas", "availableReplicas")}
            return status.get("observedGeneration") == one["metadata"]["generation"] and seen == {wanted}
        for name in services or (*STORES, *DAEMONS):
            until(lambda: is_ready(name), f"{name} is ready", READY_S)

    def until_reached(self, service, timeout_s=60):
        """Waits until every ingress has as many replicas of the service to call as there are; returns how long that took."""
        start, line = time.monotonic(), f'corbel_bus_client_healthy_replicas{{service="{service}"}}'
        until(lambda: all(self.metric(one, line) == self.replicas[service] for one in self.names("ingress")),
              f"every ingress reaches {self.replicas[service]} of {service}", timeout_s)
        return time.monotonic() - start

    def restart(self, service):
        self.kubectl("rollout", "restart", f"deployment/{service}")
        self.until_ready(service)

    def kill(self, pod):
        """SIGKILL to the program itself, by the process table of its node: what a crash looks like to the cluster.

        The program is the first process of its container; those that it has started end with it.
        """
        if kubectl("-n", self.tools, "get", "daemonset/reaper", check=False).returncode != 0:
            self.tool(REAPER)
            kubectl("-n", self.tools, "rollout", "status", "daemonset/reaper", f"--timeout={READY_S}s", timeout=READY_S + 10)
        one = self.read("pod", pod)
        container = one["status"]["containerStatuses"][0]["containerID"].rsplit("/", 1)[1]
        [reaper] = [r["metadata"]["name"] for r in read("-n", self.tools, "pods", "-l", "app=reaper")["items"]
                    if r["spec"]["nodeName"] == one["spec"]["nodeName"]]
        inside = f"$(grep -ls {container} /proc/[0-9]*/cgroup | sed s/cgroup/status/)"
        kubectl("-n", self.tools, "exec", reaper, "--", "sh", "-c",
                f"kill -KILL $(grep -lsE '^NSpid:\\s+[0-9]+\\s+1$' {inside} | cut -d/ -f3)")

    def evict(self, pod):
        """Asks the cluster to move a pod away, as a drained node does; returns whether the budget lets it."""
        asked = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": pod, "namespace": self.namespace}}
        ran = kubectl("create", "--raw", f"/api/v1/namespaces/{self.namespace}/pods/{pod}/eviction", "-f", "-",
                      stdin=json.dumps(asked), check=False)
        assert ran.returncode == 0 or "disruption budget" in ran.stderr, ran.stderr
        return ran.returncode == 0

    def connects(self, pod, address, port, namespace=None):
        """Whether a connection from the pod comes about within two seconds."""
        return kubectl("-n", namespace or self.namespace, "exec", pod, "--", "timeout", "2", "bash", "-c",
                       f": </dev/tcp/{address}/{port}", check=False).returncode == 0

    def logs(self, limit=3000):
        parts = [self.kubectl("get", "pods", "-o", "wide", check=False).stdout,
                 self.kubectl("get", "events", "--sort-by=.lastTimestamp", check=False).stdout[-limit:]]
        for service in (*DAEMONS, *STORES):
            label = f"{COMPONENT}={service}" if service in DAEMONS else f"app.kubernetes.io/name={service}"
            said = self.kubectl("logs", "-l", label, "--tail=40", "--prefix", check=False)
            parts.append(f"---- {service} ----\n{(said.stdout + said.stderr)[-limit:]}")
        return "\n".join(parts)

    def remove(self):
        """Everything, data too."""
        mine = self.namespace, self.tools, self.empty
        kubectl("delete", "namespace", *mine, "--ignore-not-found", "--wait=false", check=False)
        for name in mine:
            kubectl("wait", "--for=delete", f"namespace/{name}", "--timeout=180s", check=False, timeout=200)
        super().stop()


def has_kinds_of(group):
    return bool(kubectl("api-resources", f"--api-group={group}", "-o", "name", check=False).stdout.strip())
