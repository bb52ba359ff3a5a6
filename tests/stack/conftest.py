"""The stack of docker-compose.yml on a real engine. Without one, or without an image it needs, everything is skipped, and says
why. What is started here is stopped here: the engine by its process id, containers by the name of the project."""
import os
import pathlib
import sys

import pytest

HERE = pathlib.Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent / "e2e")]
from cluster import Cluster  # noqa: E402
from compose import Compose  # noqa: E402
from engine import Engine, Missing  # noqa: E402


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    report = (yield).get_result()
    for name in ("compose", "cluster"):
        if report.failed and name in getattr(item, "funcargs", {}):
            report.sections.append(("logs of the stack", item.funcargs[name].logs()))


@pytest.fixture(scope="session")
def engine():
    try:
        made = Engine()
    except Missing as why:
        pytest.skip(str(why))
    yield made
    made.stop()


@pytest.fixture(scope="session")
def image(engine):
    """The image, built from the tree unless CORBEL_STACK_IMAGE names one."""
    try:
        for needed in ("debian:bookworm-slim", "postgres:17-alpine", "redis:8-alpine"):
            engine.need(needed)
    except Missing as why:
        pytest.skip(str(why))
    given = os.environ.get("CORBEL_STACK_IMAGE")
    if given:
        return given
    engine.build("corbel:stack-test")
    return "corbel:stack-test"


@pytest.fixture(scope="module")
def compose(engine, image):
    """A stack of its own that is up, with one of each daemon."""
    made = Compose(engine, image)
    made.up()
    yield made
    made.remove()


@pytest.fixture(scope="module")
def cluster():
    """A namespace on the cluster that kubectl reaches, with the overlay dev in it, and one of each daemon."""
    if not os.environ.get("CORBEL_CLUSTER"):
        pytest.skip("no cluster is to be tested (./dev test --cluster)")
    try:
        made = Cluster()
    except Missing as why:
        pytest.skip(str(why))
    try:
        made.warned = made.up()
        yield made
    finally:
        made.remove()
