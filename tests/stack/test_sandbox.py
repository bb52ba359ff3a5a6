"""The corpus of hostile programs in a default container, as a user without rights: no user namespaces, and the container's own
filter around ours. The programs are those of this build; the container has this machine's /usr, which they were linked with."""
import os
import pathlib

import pytest
from engine import SOURCE, Missing, run

BIN = pathlib.Path(os.environ.get("CORBEL_BIN", SOURCE / "build/bin"))
IMAGE = "debian:bookworm-slim"


def in_container(*argv, timeout=280):
    return run("docker", "run", "--rm", "--network", "none", "--read-only", "--tmpfs", "/tmp", "--user", "12345:12345",
               "-v", "/usr:/usr:ro", "-v", f"{BIN}:/programs:ro", "-v", f"{SOURCE}/tests/sandbox:/source/tests/sandbox:ro",
               "-e", "CORBEL_BIN=/programs", "-e", "CORBEL_SOURCE=/source", IMAGE, *argv, timeout=timeout, check=False)


@pytest.fixture(scope="module", autouse=True)
def image_that_fits(engine):
    try:
        engine.need(IMAGE)
    except Missing as why:
        pytest.skip(str(why))
    for program in ("hostile_test", "hostile_harm_test"):
        if in_container("ldd", f"/programs/component/{program}").stdout.count("not found"):
            pytest.skip(f"a container of {IMAGE} with this machine's /usr does not run what was built here")


@pytest.mark.parametrize("program", ["hostile_test", "hostile_harm_test"])
def test_hostile_programs_are_confined_in_a_default_container(program):
    ran = in_container(f"/programs/component/{program}")
    assert ran.returncode == 0, ran.stdout[-3000:] + ran.stderr[-6000:]
    assert "100%" in ran.stdout
