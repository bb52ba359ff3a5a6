"""Processes that come and go as they should, under load: replicas restarted one by one, and ends in the middle.

./dev test --tsan and --asan run this file with daemons that have the sanitizer: a report fails the test that
stops the process (stack.py).
"""
import resource
import signal

import pytest
from stack import Processes, Serve
from traffic import Traffic


def restart(stack, name, number):
    """Stops one replica as an operator does, and starts it again; returns its exit code."""
    code = stack.by_name[name, number].stop()
    stack.start_daemon(name, number)
    return code


@pytest.mark.parametrize("redis", [True, False], ids=["redis", "memory"])
def test_replicas_are_restarted_one_by_one_without_a_failed_call(own, redis):
    stack = own(Processes, replicas={"accountd": 2, "ratelimitd": 2}, redis=redis)
    with Traffic(stack) as traffic:
        for name, number in (("ratelimitd", 0), ("accountd", 1), ("ratelimitd", 1), ("accountd", 0)):
            assert restart(stack, name, number) == 0
            stack.until_connected(name)
            traffic.until_good()
    assert traffic.odd() == []
    assert traffic.lost() == []


def test_a_change_of_keys_and_limits_reaches_busy_daemons(own):
    stack = own(Processes, replicas={"ratelimitd": 2})
    with Traffic(stack) as traffic:
        for _ in range(10):
            tenant = stack.tenant(plan="free", scopes=["*"])
            assert tenant.post("/v1/limits", {"name": "own", "strategy": "GCRA", "limit": 5,
                                              "window_ms": 1000}).status_code == 201
            stack.operator.put(f"/v1/tenants/{tenant.tenant_id}/subscription", {"plan": "basic"})
            assert stack.operator.post(f"/v1/keys/{tenant.key_id}/revoke").status_code == 200
        traffic.until_good()
    assert traffic.odd() == []


def test_serve_under_load_ends_with_0_and_keeps_what_it_acknowledged(own):
    stack = own(Serve)
    with Traffic(stack) as traffic:
        for number in (signal.SIGTERM, signal.SIGINT):
            assert stack.restart(number) == 0
            traffic.until_good()
    assert traffic.odd(0, 503) == []
    assert traffic.lost() == []


def test_an_ingress_under_load_ends_with_0_and_answers_what_it_took(own):
    stack = own(Processes)
    with Traffic(stack) as traffic:
        assert restart(stack, "ingress", 0) == 0
        traffic.until_good()
    assert traffic.odd(0, 503) == []
    assert traffic.lost() == []


def test_a_process_takes_as_many_descriptors_as_its_hard_limit_grants(own):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard))
    try:
        stack = own(Serve)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert resource.prlimit(stack.serve.popen.pid, resource.RLIMIT_NOFILE) == (hard, hard)
    stack.serve.wait_for(f"descriptors limit={hard}")
