"""Clients that hang up while their call is under way, and more calls under way than are held at once."""
import concurrent.futures
import json
import signal
import socket
import struct

import pytest
from stack import Processes, until


def raw_check(stack, key, limit="burst"):
    """Sends a check and returns its socket, without reading the answer."""
    body = json.dumps({"checks": [{"limit": limit, "key": "k"}]}).encode()
    head = (f"POST /v1/ratelimits/check HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {key}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n").encode()
    connection = socket.create_connection(("127.0.0.1", stack.port), timeout=60)
    connection.sendall(head + body)
    return connection


def raw_question(stack, key):
    """The same for a gateway's question about a request that takes from the limit."""
    connection = socket.create_connection(("127.0.0.1", stack.port), timeout=60)
    connection.sendall(f"GET /v1/auth/forward HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {key}\r\n"
                       "X-Original-Method: GET\r\nX-Original-URI: /x\r\nOrigin: https://app.example\r\n\r\n".encode())
    return connection


def reset(connection):
    """Closes with RST."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


def limited(stack, limit):
    client = stack.tenant(plan="unlimited")
    made = stack.operator.post("/v1/limits", {"name": "burst", "strategy": "FIXED_WINDOW", "limit": limit,
                                              "window_ms": 86400000, "tenant_id": client.tenant_id})
    assert made.status_code == 201, made.text
    ask = {"checks": [{"limit": "burst", "key": "k"}]}
    until(lambda: client.post("/v1/ratelimits/check", ask).json().get("allowed"), "the limit is known")
    return client, ask


@pytest.mark.parametrize("send", [raw_check, raw_question])
def test_clients_that_hang_up_during_a_call_harm_nobody(own, send):
    stack = own(Processes, "--ingress.forward_limits=* * = burst", "--ingress.cors_origins=*", redis=False)
    client, ask = limited(stack, 1000000)
    key = client.key
    ratelimitd = stack.by_name["ratelimitd", 0]
    for how in (reset, socket.socket.close) * 3:
        ratelimitd.send(signal.SIGSTOP)
        waiting = [send(stack, key) for _ in range(200)]
        assert client.get("/healthz").status_code == 200  # so they were read
        for connection in waiting:
            how(connection)
        assert client.get("/healthz").status_code == 200  # so their ends were seen
        ratelimitd.send(signal.SIGCONT)
        until(lambda: client.post("/v1/ratelimits/check", ask).status_code == 200, "checks are answered again")
    assert stack.by_name["ingress", 0].is_alive()


def test_hundreds_of_calls_under_way_at_once_are_all_answered(own):
    stack = own(Processes, redis=False)
    client, ask = limited(stack, 400)
    ratelimitd = stack.by_name["ratelimitd", 0]
    ratelimitd.send(signal.SIGSTOP)
    waiting = [raw_check(stack, client.key) for _ in range(300)]
    assert client.get("/healthz").status_code == 200
    ratelimitd.send(signal.SIGCONT)

    def answer(connection):
        with connection, connection.makefile("rb") as lines:
            return lines.readline().split()[1]

    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        codes = list(pool.map(answer, waiting))
    assert codes == [b"200"] * 300
    state = client.post("/v1/ratelimits/peek", ask).json()["limits"][0]
    assert state["remaining"] <= 99
