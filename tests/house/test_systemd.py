"""The units of deploy/systemd: installed into a directory, verified and scored by systemd's own tools."""
import os
import pathlib
import re
import shutil
import subprocess

import pytest

SOURCE = pathlib.Path(os.environ.get("CORBEL_SOURCE", pathlib.Path(__file__).parents[2]))
BIN = pathlib.Path(os.environ.get("CORBEL_BIN", SOURCE / "build/bin"))
UNITS = SOURCE / "deploy/systemd"
SERVICES = sorted(re.findall(r"^corbel_service\((\w+)", (SOURCE / "CMakeLists.txt").read_text(), re.M))
EXPOSURE_MAX = 20 # in tenths, as systemd-analyze counts: 2.0 of 10

needs_systemd = pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="there is no systemd-analyze")


def install(root):
    """What install.sh leaves below a directory, with programs that do nothing: no unit is started here."""
    programs = root / "programs"
    programs.mkdir(parents=True)
    for name in ("corbel", "corbel-zygote", *SERVICES):
        (programs / name).write_text("#!/bin/sh\n")
    ran = subprocess.run([UNITS / "install.sh", programs], env={**os.environ, "DESTDIR": str(root)}, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    return root


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    return install(tmp_path_factory.mktemp("root"))


def variables(path):
    return dict(line.split("=", 1) for line in path.read_text().splitlines() if line and line[0] != "#")


def analyze(root, *arguments):
    units = root / "etc/systemd/system"
    return subprocess.run(["systemd-analyze", *arguments], capture_output=True, text=True,
                          env={**os.environ, "SYSTEMD_UNIT_PATH": f"{units}:"})


def test_the_target_starts_every_service_of_the_build():
    assert sorted(re.findall(r"^Wants=corbel@(\w+)\.service$", (UNITS / "corbel.target").read_text(), re.M)) == SERVICES


def test_every_daemon_gets_its_program_and_an_admin_port_of_its_own(installed):
    ports = {variables(installed / f"etc/corbel/{name}.env")["CORBEL_ADMIN_LISTEN"] for name in SERVICES}
    assert len(ports) == len(SERVICES)
    for name in SERVICES:
        assert os.access(installed / "usr/local/bin" / name, os.X_OK)


def test_secrets_are_those_of_one_daemon_and_for_nobody_else_to_read(installed):
    has = {name: {key for key in variables(installed / f"etc/corbel/{name}.env") if re.search("PEPPERS|SECRETS|KEY", key)}
           for name in SERVICES}
    assert {name: keys for name, keys in has.items() if keys} == {
        "accountd": {"CORBEL_ACCOUNTD_BOOTSTRAP_KEY", "CORBEL_ACCOUNTD_PEPPERS"},
        "webhookd": {"CORBEL_WEBHOOKD_SECRETS"}, "cached": {"CORBEL_CACHED_SECRETS"}}
    for path in (installed / "etc/corbel").iterdir():
        assert path.stat().st_mode & 0o077 == 0, path.name


def test_every_daemon_takes_the_configuration_that_it_is_given(installed):
    unit = re.findall(r"^Environment=(CORBEL_\w+)=(.*)$", (UNITS / "corbel@.service").read_text(), re.M)
    for name in SERVICES:
        said = dict(unit) | variables(installed / "etc/corbel/corbel.env") | variables(installed / f"etc/corbel/{name}.env")
        said = {key: value.replace("%i", name) for key, value in said.items()}
        for path in UNITS.glob(f"corbel@{name}.service.d/*.conf"):
            said |= dict(re.findall(r"^Environment=(CORBEL_\w+)=(.*)$", path.read_text(), re.M))
        ran = subprocess.run([BIN / name, "--check-config"], env=said | {"HOME": "/"}, capture_output=True, text=True)
        assert ran.returncode == 0, f"{name}: {ran.stderr}"


def test_installing_again_keeps_the_configuration(tmp_path):
    root = install(tmp_path / "root")
    before = {path.name: path.read_text() for path in (root / "etc/corbel").iterdir()}
    shutil.rmtree(root / "programs")
    install(root)
    assert {path.name: path.read_text() for path in (root / "etc/corbel").iterdir()} == before


@needs_systemd
@pytest.mark.parametrize("name", SERVICES)
def test_systemd_has_nothing_to_say_against_a_unit(installed, name):
    units = installed / "etc/systemd/system"
    for unit in units.glob("*.service"): # the programs are here, not in /usr/local
        unit.write_text(unit.read_text().replace("=/usr/local/bin/", f"={installed}/usr/local/bin/"))
    ran = analyze(installed, "verify", "--man=no", "--recursive-errors=no", f"corbel@{name}.service", "corbel.target")
    about_us = [line for line in ran.stderr.splitlines() if "corbel" in line]
    assert ran.returncode == 0 and about_us == [], ran.stderr


@needs_systemd
@pytest.mark.parametrize("name", SERVICES)
def test_a_unit_exposes_little(installed, name):
    ran = analyze(installed, "security", "--offline=true", f"--threshold={EXPOSURE_MAX}", "--no-pager", f"corbel@{name}.service")
    assert ran.returncode == 0 and "Overall exposure level" in ran.stdout, ran.stdout + ran.stderr
