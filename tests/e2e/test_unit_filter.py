"""Corbel behind the filter of system calls of its systemd units, as a user without rights: it serves, and plugins run."""
import ctypes
import errno
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

import pytest

from stack import BIN, Serve

SOURCE = pathlib.Path(os.environ.get("CORBEL_SOURCE", pathlib.Path(__file__).parents[2]))
UNITS = SOURCE / "deploy/systemd"
NOBODY = 65534
ALLOW, REFUSE = 0x7FFF0000, 0x00050000 | errno.EPERM # SCMP_ACT_ALLOW, SCMP_ACT_ERRNO(EPERM)


def groups_of_calls():
    found, group = {}, None
    for line in subprocess.run(["systemd-analyze", "syscall-filter", "--no-pager"], capture_output=True, text=True).stdout.splitlines():
        if line.startswith("@"):
            group = found.setdefault(line.strip(), set())
        elif group is not None and line.strip() and line.strip()[0] != "#":
            group.add(line.strip())
    return found


def expanded(groups, name):
    return set().union(*(expanded(groups, one) for one in groups[name])) if name[0] == "@" else {name}


def allowed_calls():
    """Of sandboxd, which may do the most; namespaces, which another setting refuses, taken away."""
    groups, allowed = groups_of_calls(), set()
    for path in (UNITS / "corbel@.service", UNITS / "corbel@sandboxd.service.d/runs.conf"):
        for line in re.findall(r"^SystemCallFilter=(.+)$", path.read_text(), re.M):
            calls = set().union(*(expanded(groups, name) for name in line.removeprefix("~").split()))
            allowed = allowed - calls if line[0] == "~" else allowed | calls
    return allowed - {"unshare", "setns"}


def give_up_rights():
    if os.getuid() == 0:
        os.setgroups([])
        os.setgid(NOBODY)
        os.setuid(NOBODY)


def refuse_all_but(calls):
    """For this process and what it becomes."""
    seccomp = ctypes.CDLL("libseccomp.so.2")
    seccomp.seccomp_init.restype = ctypes.c_void_p
    context = ctypes.c_void_p(seccomp.seccomp_init(REFUSE))
    for name in calls:
        number = seccomp.seccomp_syscall_resolve_name(name.encode())
        if number >= 0: # this machine has it
            assert seccomp.seccomp_rule_add(context, ALLOW, number, 0) == 0, name
    assert seccomp.seccomp_load(context) == 0


class Filtered(Serve):
    """Its programs and data are where a user without rights gets at them."""

    def __init__(self):
        self.home = tempfile.mkdtemp(prefix="corbel-unit-")
        os.chmod(self.home, 0o777)
        for name in ("corbel", "corbel-zygote"):
            shutil.copy(BIN / name, self.home)
        super().__init__(directory=self.home)

    def spawn(self, name, argv, env=None):
        return super().spawn(name, ["/usr/bin/python3", __file__, pathlib.Path(self.home) / "corbel", *argv[1:]], env)

    def stop(self):
        super().stop()
        shutil.rmtree(self.home, ignore_errors=True)


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="there is no systemd-analyze, which knows the groups of calls")
def test_corbel_serves_and_runs_plugins_with_the_calls_that_its_units_allow(own):
    stack = own(Filtered)
    layers = {one["name"]: one["state"] for one in stack.operator.get("/v1/plugins/isolation").json()["layers"]}
    assert layers.pop("namespaces") == "LAYER_UNAVAILABLE", "the filter is not in force"
    assert {layers[name] for name in ("seccomp", "no_new_privs", "rlimits", "landlock")} == {"LAYER_ACTIVE"}
    tenant = stack.tenant(plan="unlimited", scopes=["*"])
    ran = tenant.post("/v1/plugins/run", {"code": "result = 6 * 7"})
    assert ran.status_code == 200 and ran.json()["result"] == 42, ran.text
    assert tenant.post("/v1/limits", {"name": "own", "strategy": "GCRA", "limit": 5, "window_ms": 1000}).status_code == 201
    assert stack.restart() == 0


if __name__ == "__main__": # a program and its arguments
    calls = allowed_calls()
    give_up_rights()
    refuse_all_but(calls)
    os.execv(sys.argv[1], sys.argv[1:])
