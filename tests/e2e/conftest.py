"""Fixtures: `serve`, `processes`, and `stack`, which is each of them in turn.

They live as long as the module, so tests make tenants of their own (stack.tenant()). Tests that stop or
break something make a stack of their own with the classes of stack.py. When a test fails, the logs of
the processes it used are printed.
"""
import contextlib
import pathlib
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).parent))
from stack import BIN, GIVEN_URL, Given, Processes, Serve, postgres_bin  # noqa: E402


def pytest_configure(config):
    config.addinivalue_line("markers", "slow: takes more than a few seconds")


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    report = (yield).get_result()
    if not report.failed:
        return
    for value in getattr(item, "funcargs", {}).values():
        if hasattr(value, "logs") and not isinstance(value, type):
            report.sections.append(("logs of the stack", value.logs()))


def needs(*programs):
    missing = [p for p in programs if not (BIN / p).exists()]
    if missing:
        pytest.skip(f"not built: {', '.join(missing)}")


@pytest.fixture(scope="module")
def serve():
    needs("corbel")
    stack = Serve()
    yield stack
    stack.stop()


@pytest.fixture(scope="module")
def processes():
    needs(*Processes.DAEMONS)
    if not postgres_bin():
        pytest.skip("no PostgreSQL")
    stack = Processes()
    yield stack
    stack.stop()


@pytest.fixture(scope="module")
def four_on_redis():
    needs(*Processes.DAEMONS)
    stack = Processes(replicas={"ratelimitd": 4})
    yield stack
    stack.stop()


@pytest.fixture(scope="module")
def four_in_memory():
    needs(*Processes.DAEMONS)
    stack = Processes(replicas={"ratelimitd": 4}, redis=False)
    yield stack
    stack.stop()


@pytest.fixture(scope="module")
def given():
    stack = Given()
    yield stack
    stack.stop()


@pytest.fixture(scope="module", params=["given"] if GIVEN_URL else ["serve", "processes"])
def stack(request):
    return request.getfixturevalue(request.param)


@pytest.fixture
def own():
    """Makes stacks that end with the test: own(Serve), own(Processes, replicas={"ratelimitd": 4})."""
    made = []

    class Maker:
        def __call__(self, kind, *args, **kwargs):
            needs(*(["corbel"] if issubclass(kind, Serve) else Processes.DAEMONS))
            made.append(kind(*args, **kwargs))
            return made[-1]

        def logs(self):
            return "\n".join(one.logs() for one in made)

    with contextlib.ExitStack() as ends:  # each, whatever the others' say
        yield Maker()
        for one in reversed(made):
            ends.callback(one.stop)
