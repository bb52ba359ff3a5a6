"""One project of docker-compose.yml: brought up, scaled, hurt and removed. It has the address, admin key and clients that
stacks of the end-to-end tests have, so their traffic runs against it.

Its callers do what any caller should: an answer 503, or a connection that breaks, is tried once more, after the time that
the answer names, at the next address of the ingress.
"""
import itertools
import os
import re
import signal
import time

import requests
from engine import SOURCE, project_of_mine, run
from stack import Client, Stack, free_port, until

DAEMONS = (*sorted(path.parent.name for path in (SOURCE / "services").glob("*/main.c") if path.parent.name != "ingress"), "ingress")
STORES = ("postgres", "redis")
HEALTHY_S = 300
PORTS = 20
PATIENCE_S = 5  # the longest that a caller waits before it tries again


class Caller(Client):
    """A client that knows every address of the ingress and tries once more."""

    def __init__(self, compose, key=None):
        super().__init__(compose.url, key)
        self.compose, self.turns = compose, itertools.count()
        self.retries = 0

    def request(self, verb, path, body=None, **kwargs):
        try:
            answer = self._try(verb, path, body, **kwargs)
            if answer.status_code != 503:
                return answer
            pause = min(float(answer.headers.get("Retry-After", 0.1)), PATIENCE_S)
        except requests.ConnectionError:
            pause = 0.1
        self.retries += 1
        time.sleep(pause)
        return self._try(verb, path, body, **kwargs)

    def _try(self, verb, path, body, **kwargs):
        urls = self.compose.urls
        self.url = urls[next(self.turns) % len(urls)]
        return super().request(verb, path, body, **kwargs)


class Compose(Stack):
    def __init__(self, engine, tag, command=None, files=("override.yml",)):
        super().__init__()
        self.files = [word for name in files for word in ("-f", f"tests/stack/{name}")]
        self.engine = engine
        self.command = command or engine.composes()[0]
        self.project = project_of_mine(free_port())
        self.replicas = dict.fromkeys(DAEMONS, 1)
        self.file = self.directory / "env"
        self.file.write_text(run("sh", "deploy/new-env.sh").stdout)
        self.said = dict(re.findall(r"^(\w+)=(.*)$", self.file.read_text(), re.M))
        self.admin_key = self.said["CORBEL_API_KEY"]
        first = free_port()
        self.own = {"CORBEL_TAG": tag.split(":")[1], "CORBEL_PORT": f"{first}-{first + PORTS - 1}",
                    "CORBEL_WEBHOOKD_ALLOW": "10.0.0.0/8,172.16.0.0/12,192.168.0.0/16"}
        self.urls = []

    def compose(self, *words, timeout=600):
        # Nothing of the caller's environment takes the place of what the file says.
        clean = {name: "" for name in os.environ if re.match("CORBEL_(?!SOURCE|BIN)|COMPOSE_|POSTGRES_|REDIS_|GRAFANA_", name)}
        return run("env", *[part for name in clean for part in ("-u", name)], *self.command, "--env-file", self.file, "-p",
                   self.project, "-f", "docker-compose.yml", *self.files, *words, timeout=timeout, env=self.own)

    # ---- what there is

    def ids(self, service=None, is_all=False):
        """Containers of a service, or of all; those that have ended too, if asked."""
        filters = [f"--filter=label=com.docker.compose.project={self.project}"]
        if service:
            filters.append(f"--filter=label=com.docker.compose.service={service}")
        return sorted(run("docker", "ps", "-q", "--no-trunc", *(["-a"] if is_all else []), *filters).stdout.split())

    def containers(self, service):
        ids = self.ids(service)
        return self.engine.inspect(*ids) if ids else []

    def address(self, container):
        return next(iter(container["NetworkSettings"]["Networks"].values()))["IPAddress"]

    def gateway(self):
        """The address of this machine that containers reach."""
        return next(iter(self.containers("ingress")[0]["NetworkSettings"]["Networks"].values()))["Gateway"]

    def metric(self, container, line):
        """The sum of the lines of a container's metrics that begin so; None when there is none."""
        text = requests.get(f"http://{self.address(container)}:9600/metrics", timeout=10).text
        found = re.findall(rf"^{re.escape(line)}\S* (\S+)", text, re.M)
        return sum(map(float, found)) if found else None

    def look_up_addresses(self):
        ports = [c["NetworkSettings"]["Ports"]["8080/tcp"] for c in self.containers("ingress")]
        self.urls = [f"http://127.0.0.1:{port[0]['HostPort']}" for port in ports if port]
        if self.urls:
            self.url = self.urls[0]

    def client(self, key=None):
        return Caller(self, key)

    # ---- what is done to it

    def up(self, **replicas):
        """Brings it up, or to as many replicas; returns when all are healthy."""
        self.replicas.update(replicas)
        scales = [word for name, count in self.replicas.items() for word in ("--scale", f"{name}={count}")]
        self.compose("up", "-d", "--no-build", "--no-recreate", *scales)
        self.until_healthy()

    def until_healthy(self, *services):
        def is_healthy():
            found = [c for name in services or (*STORES, *DAEMONS) for c in self.containers(name)]
            wanted = sum(self.replicas.get(name, 1) for name in services or (*STORES, *DAEMONS))
            return len(found) == wanted and all(c["State"].get("Health", {}).get("Status") == "healthy" for c in found)
        until(is_healthy, f"{services or 'everything'} is healthy", HEALTHY_S)
        self.look_up_addresses()

    def until_reached(self, service, timeout_s=60):
        """Waits until every ingress has as many replicas of the service to call as there are; returns how long that took."""
        start, line = time.monotonic(), f'corbel_bus_client_healthy_replicas{{service="{service}"}}'
        until(lambda: all(self.metric(c, line) == self.replicas[service] for c in self.containers("ingress")),
              f"every ingress reaches {self.replicas[service]} of {service}", timeout_s)
        return time.monotonic() - start

    def restart(self, container):
        """As an operator does: SIGTERM, and again."""
        run("docker", "restart", container)

    def kill(self, container):
        """SIGKILL to the program itself, so that the engine takes it for a crash."""
        os.kill(self.engine.inspect(container)[0]["State"]["Pid"], signal.SIGKILL)

    def stop_service(self, service):
        self.compose("stop", service)

    def start_service(self, service):
        self.compose("start", service)

    def query(self, sql):
        return run("docker", "exec", self.ids("postgres")[0], "psql", "-U", "corbel", "-AtXc", sql, "corbel").stdout.split("\n")[:-1]

    def logs(self, limit=3000):
        parts = []
        for one in self.engine.inspect(*self.ids(is_all=True)) if self.ids(is_all=True) else []:
            said = run("docker", "logs", "--tail", "40", one["Id"], check=False)
            parts.append(f"---- {one['Name']} {one['State']['Status']} ----\n{(said.stdout + said.stderr)[-limit:]}")
        return "\n".join(parts)

    def down(self):
        self.compose("down", "-t", "30")

    def remove(self):
        """Everything, data too."""
        self.compose("--profile", "observability", "down", "-v", "-t", "5")
        super().stop()


