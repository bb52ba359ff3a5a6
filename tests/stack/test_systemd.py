"""The units of deploy/systemd, as they are installed, under a systemd that is the first process of a container."""
import re
import shutil
import time

import pytest
from engine import SOURCE, run
from stack import until

OPERATIONS = SOURCE / "docs/operations.md"
# Who runs it is root, and the image has no sudo.
SUDO = 'sudo() { if [ "$1" = -u ]; then runuser -u "$2" -- "${@:3}"; else "$@"; fi; }\n'
PASSWORD = "password"  # as deploy/systemd/corbel.env has it, to be replaced by whoever installs
BUILD_S = 600


class Host:
    """A container that systemd can govern: it mounts, makes cgroups, and maps users of other processes."""

    def __init__(self, image):
        self.id = run("docker", "run", "-d", "--cap-add", "SYS_ADMIN", "--cap-add", "SYS_PTRACE", "--security-opt",
                      "seccomp=unconfined", "--tmpfs", "/run", "--tmpfs", "/tmp", "-v", "/sys/fs/cgroup:/sys/fs/cgroup:rw",
                      "--cgroupns=host", "-e", "container=docker", image).stdout.strip()

    def run(self, *argv, check=True):
        return run("docker", "exec", self.id, *argv, check=check).stdout.strip()

    def says(self, unit, what):
        return self.run("systemctl", "show", "-P", what, unit)

    def is_active(self, *units):
        return all(state == "active" for state in self.run("systemctl", "is-active", *units, check=False).split())

    def corbel(self, *words):
        key = re.search("BOOTSTRAP_KEY=(.*)", self.run("cat", "/etc/corbel/accountd.env")).group(1)
        return run("docker", "exec", "-e", f"CORBEL_API_KEY={key}", "-e", "CORBEL_URL=http://127.0.0.1:8080", self.id, "corbel", *words,
                   check=False)

    def shell(self, lines):
        """Commands for operators, as they are printed."""
        return self.run("bash", "-euc", f"{SUDO}cd /tmp\n{lines}")

    def logs(self):
        return self.run("journalctl", "--no-pager", "-n", "200", check=False)


@pytest.fixture(scope="module")
def compose(engine, image, tmp_path_factory):
    """A host on which Corbel is installed and started; named as conftest.py names what it shows the logs of."""
    source = tmp_path_factory.mktemp("source")
    shutil.copytree(SOURCE / "deploy", source / "deploy")
    shutil.copy(SOURCE / ".env.example", source)
    tag = "corbel:systemd-test"
    run("docker", "build", "-q", "-f", SOURCE / "tests/stack/systemd.Dockerfile", "-t", tag, "--build-arg", f"IMAGE={image}", source,
        timeout=BUILD_S, env={"DOCKER_BUILDKIT": "0"})
    host = Host(tag)
    try:
        end = time.monotonic() + 30
        while host.run("systemctl", "is-system-running", check=False) not in ("running", "degraded"):
            if time.monotonic() > end:
                pytest.skip("systemd does not come up in a container here")
            time.sleep(0.2)
        until(lambda: host.is_active("postgresql", "redis-server"), "the stores run")
        until(lambda: run("docker", "exec", host.id, "su", "postgres", "-c", "pg_isready", check=False).returncode == 0, "PostgreSQL answers")
        host.run("su", "postgres", "-c", f"psql -qc \"CREATE USER corbel PASSWORD '{PASSWORD}'\" -c 'CREATE DATABASE corbel OWNER corbel'")
        host.run("chmod", "755", "/var/lib/corbel")  # the image's volume, for another user; systemd would make it so
        host.run("sh", "/source/deploy/systemd/install.sh", "/programs")
        host.run("systemctl", "enable", "--now", "corbel.target")
        yield host
    finally:
        run("docker", "rm", "-f", host.id)


@pytest.fixture(scope="module")
def units(compose):
    names = [f"corbel@{name}" for name in re.findall(r"^Wants=corbel@(\w+)\.service$", (SOURCE / "deploy/systemd/corbel.target").read_text(),
                                                    re.M)]
    until(lambda: compose.is_active(*names), "every daemon has said that it is ready")
    return names


def test_every_unit_comes_up_behind_its_walls_and_serves(compose, units):
    assert all(compose.says(unit, "NRestarts") == "0" for unit in units)
    assert compose.corbel("tenants", "list").returncode == 0
    ran = compose.corbel("plugins", "try", "--code", "result = 6 * 7", "--output", "json")
    assert '"result":42' in ran.stdout.replace(" ", ""), ran.stdout + ran.stderr


def test_a_daemon_that_is_killed_comes_back_by_itself(compose, units):
    for unit in units:
        before = compose.says(unit, "MainPID")
        compose.run("kill", "-9", before)
        until(lambda: compose.is_active(unit) and compose.says(unit, "MainPID") not in ("0", before), f"{unit} is back")
    until(lambda: compose.corbel("tenants", "list").returncode == 0, "it serves")


def test_a_daemon_that_hangs_is_restarted_by_the_watchdog(compose, units):
    before = compose.says("corbel@ratelimitd", "MainPID")
    compose.run("kill", "-STOP", before)
    until(lambda: compose.is_active("corbel@ratelimitd") and compose.says("corbel@ratelimitd", "MainPID") not in ("0", before),
          "ratelimitd is back", 120)
    assert "Watchdog timeout" in compose.run("journalctl", "--no-pager", "-u", "corbel@ratelimitd")


def test_a_database_that_is_away_holds_nothing_up(compose, units):
    compose.run("systemctl", "stop", "corbel.target", "postgresql")
    compose.run("timeout", "30", "systemctl", "start", "corbel.target")
    until(lambda: compose.says("corbel@accountd", "SubState") == "start", "accountd waits")
    compose.run("systemctl", "start", "postgresql")
    until(lambda: compose.is_active(*units), "every daemon has said that it is ready")
    assert compose.says("corbel@accountd", "NRestarts") == "0"
    assert compose.corbel("tenants", "list").returncode == 0


def test_the_printed_commands_dump_the_database_and_restore_it_into_an_empty_one(compose, units):
    page = OPERATIONS.read_text()
    dump = re.search(r"^\| systemd \| `(.*)` \| `/etc/corbel` \|$", page, re.M).group(1)
    restore = re.search(r"^With systemd, .*:\n\n```sh\n(.*?)```", page, re.M | re.S).group(1)
    until(lambda: compose.corbel("tenants", "create", "--name", "Kept").returncode == 0, "a tenant is made")
    compose.shell(dump)
    until(lambda: compose.corbel("tenants", "create", "--name", "Later").returncode == 0, "another one is made")
    compose.shell(restore)
    until(lambda: compose.is_active(*units), "every daemon has said that it is ready")
    listed = until(lambda: (told := compose.corbel("tenants", "list", "--output", "json")).returncode == 0 and told, "it serves")
    assert "Kept" in listed.stdout and "Later" not in listed.stdout
