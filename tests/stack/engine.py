"""A Docker engine: the one that answers, or one that is started for the tests."""
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import tempfile
import time

SOURCE = pathlib.Path(os.environ.get("CORBEL_SOURCE", pathlib.Path(__file__).parents[2]))
START_S, PULL_S, BUILD_S = 60, 300, 1500


class Missing(Exception):
    """Something that this machine does not have."""


def began(pid):
    """When the process began, which with its id is its name for good; None when there is none. Field 22 of proc(5)'s stat."""
    try:
        return int(pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()[19])
    except FileNotFoundError:
        return None


def project_of_mine(rest):
    """A name for a project of Compose that tells whose it is."""
    return f"corbel-test-{os.getpid()}-{began(os.getpid())}-{rest}"


def is_orphan(project):
    """Whether it is the project of a run that is no more."""
    mine = re.fullmatch(r"corbel-test-(\d+)-(\d+)-\d+", project)
    return bool(mine) and began(mine[1]) != int(mine[2])


def run(*argv, timeout=120, env=None, check=True):
    ran = subprocess.run([str(a) for a in argv], capture_output=True, text=True, timeout=timeout,
                         env={**os.environ, **(env or {})}, cwd=SOURCE)
    assert not check or ran.returncode == 0, f"{' '.join(map(str, argv))}\n{ran.stdout[-3000:]}\n{ran.stderr[-5000:]}"
    return ran


class Engine:
    def __init__(self):
        self.started, self.directory = None, None
        if not shutil.which("docker"):
            raise Missing("there is no docker command")
        if not self.answers():
            if os.geteuid() != 0 or not shutil.which("dockerd"):
                raise Missing("no Docker engine answers, and none can be started: that takes dockerd and root")
            self._start()
        self._clear()

    @staticmethod
    def answers():
        return run("docker", "version", check=False).returncode == 0

    def _start(self):
        self.directory = tempfile.mkdtemp(prefix="corbel-engine-")
        log = open(pathlib.Path(self.directory) / "log", "wb")
        self.started = subprocess.Popen(["dockerd"], stdout=log, stderr=log, stdin=subprocess.DEVNULL, start_new_session=True)
        end = time.monotonic() + START_S
        while not self.answers():
            if self.started.poll() is not None or time.monotonic() > end:
                said = (pathlib.Path(self.directory) / "log").read_text()[-400:].strip()
                self.stop()
                raise Missing(f"dockerd does not start here: {said.splitlines()[-1] if said else 'it says nothing'}")
            time.sleep(0.2)

    @staticmethod
    def _clear():
        """Removes what runs that were killed have left: it would start again with the engine, and load the machine."""
        for kind, name, remove in (("container", "ID", ("rm", "-f", "-v")), ("network", "ID", ("network", "rm")),
                                   ("volume", "Name", ("volume", "rm"))):
            words = ["-a"] if kind == "container" else []
            listed = run("docker", kind, "ls", *words, "--format", '{{.%s}} {{.Label "com.docker.compose.project"}}' % name)
            orphans = [line.split()[0] for line in listed.stdout.splitlines() if is_orphan(line.split(" ")[1])]
            if orphans:
                run("docker", *remove, *orphans)

    def stop(self):
        if self.started and self.started.poll() is None:
            self.started.send_signal(signal.SIGTERM)
            self.started.wait(START_S)
        if self.directory:
            shutil.rmtree(self.directory, ignore_errors=True)

    @staticmethod
    def need(image):
        """Pulls it unless it is there."""
        if run("docker", "image", "inspect", image, check=False).returncode == 0:
            return
        pulled = run("docker", "pull", image, check=False, timeout=PULL_S)
        if pulled.returncode != 0:
            raise Missing(f"the image {image} is neither here nor to be had: {pulled.stderr.strip().splitlines()[-1]}")

    @staticmethod
    def build(tag):
        """By the old builder, which every engine has: what it can build, the newer ones can."""
        run("docker", "build", "-q", "-f", "deploy/Dockerfile", "-t", tag, ".", timeout=BUILD_S,
            env={"DOCKER_BUILDKIT": "0"})

    @staticmethod
    def inspect(*ids):
        return json.loads(run("docker", "inspect", *ids).stdout)

    @staticmethod
    def composes():
        """The commands that this machine has for Compose, the newer one first."""
        found = []
        if run("docker", "compose", "version", check=False).returncode == 0:
            found.append(["docker", "compose"])
        if shutil.which("docker-compose"):
            found.append(["docker-compose"])
        if not found:
            raise Missing("there is no Docker Compose")
        return found
