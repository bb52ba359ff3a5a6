"""A process that is to stop says so first, and serves on for `drain.delay` while its callers go elsewhere."""
import signal
import time

import requests

from stack import Serve, until

DELAY_S = 15  # in which a busy machine answers some calls


def readiness(stack):
    return requests.get(f"http://127.0.0.1:{stack.admin_port}/readyz", timeout=10)


def test_a_process_that_is_to_stop_is_not_ready_and_serves_on_for_the_delay(own):
    stack = own(Serve, f"--drain.delay={DELAY_S}s")
    tenant = stack.tenant(plan="unlimited", scopes=["*"])
    kept = stack.client(tenant.key)
    assert kept.get("/v1/events").headers.get("Connection") != "close"
    stopped = time.monotonic()
    stack.serve.send(signal.SIGTERM)
    checks = until(lambda: (a := readiness(stack)).status_code == 503 and a.json()["checks"], "it is not ready", DELAY_S)
    assert {check[0]["output"] for check in checks.values()} == {"draining"}
    assert requests.get(f"http://127.0.0.1:{stack.admin_port}/livez", timeout=10).status_code == 200
    assert requests.get(f"http://127.0.0.1:{stack.admin_port}/startupz", timeout=10).status_code == 200
    # New connections, and calls through the bus; connections that were kept end with their next answer.
    for client in (kept, stack.client(tenant.key)):
        answer = client.get("/v1/events")
        assert answer.status_code == 200 and answer.headers["Connection"] == "close"
    assert time.monotonic() < stopped + DELAY_S, "the machine was too slow for this test to say anything"
    assert stack.serve.popen.wait(60) == 0
    assert time.monotonic() >= stopped + DELAY_S


def test_a_second_signal_ends_a_process_that_serves_on(own):
    stack = own(Serve, "--drain.delay=60s")
    stack.serve.send(signal.SIGTERM)
    until(lambda: readiness(stack).status_code == 503, "it is not ready")
    stack.serve.send(signal.SIGTERM)
    assert stack.serve.popen.wait(30) == -signal.SIGTERM
