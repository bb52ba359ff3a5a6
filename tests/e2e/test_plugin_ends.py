"""Runs that somebody waits for and that are to end before they have: cancelled by their id, or left by their caller."""
import concurrent.futures
import json
import socket
import uuid

import pytest
from stack import Processes, until

ENDLESS = "while True:\n    pass\n"
LONG = {"cpu_ms": 60000, "wall_ms": 60000}


@pytest.fixture
def pool():
    with concurrent.futures.ThreadPoolExecutor() as executor:
        yield executor


@pytest.fixture(scope="module")
def two():
    """Two replicas of sandboxd, on one store."""
    stack = Processes(replicas={"sandboxd": 2}, redis=False)
    yield stack
    stack.stop()


def run_id():
    return f"run_{uuid.uuid4().hex}"


def endless(client):
    made = client.post("/v1/plugins", {"name": "endless", "code": ENDLESS, "install": True, "limits": LONG})
    assert made.status_code == 201, made.text
    return made.json()["id"]


def tenant(stack):
    return stack.tenant(plan="unlimited", scopes=["plugins.*"])


def begin(pool, stack, client, path, body):
    """Posts on a connection of its own; a future of the answer."""
    return pool.submit(stack.client(client.key).post, path, body)


def cancelled(client, one):
    answer = client.post(f"/v1/plugins/runs/{one}/cancel")
    assert answer.status_code in (200, 404), answer.text
    return answer.status_code == 200 and answer.json()


def raw_run(stack, key, plugin, body, *headers):
    """Sends a run and returns its socket, without reading the answer."""
    text = json.dumps(body)
    lines = [f"POST /v1/plugins/{plugin}/run HTTP/1.1", "Host: x", f"Authorization: Bearer {key}",
             "Content-Type: application/json", f"Content-Length: {len(text)}", *headers, "", text]
    connection = socket.create_connection(("127.0.0.1", stack.port), timeout=60)
    connection.sendall("\r\n".join(lines).encode())
    return connection


def under_way(two):
    return sum(two.metric(two.by_name["sandboxd", i], "corbel_sandbox_under_way") for i in range(2))


@pytest.mark.parametrize("path,body", [("/v1/plugins/{}/run", {}), ("/v1/plugins/run", {"code": ENDLESS, "limits": LONG})])
def test_a_run_that_is_waited_for_is_cancelled_by_the_id_that_its_caller_chose(stack, pool, path, body):
    client, one = tenant(stack), run_id()
    waiting = begin(pool, stack, client, path.format(endless(client)), {**body, "run_id": one})
    was = until(lambda: cancelled(client, one), "the run is found")
    assert (was["id"], was["state"]) == (one, "RUN_UNDER_WAY")
    answer = waiting.result(60)
    assert (answer.status_code, answer.json()["outcome"], answer.json()["id"]) == (200, "CANCELLED", one)
    kept = until(lambda: client.get(f"/v1/plugins/runs/{one}").json().get("outcome"), "the run is in the history")
    assert kept == "CANCELLED"
    assert client.post(f"/v1/plugins/runs/{one}/cancel").json()["outcome"] == "CANCELLED"  # stays as it is
    again = begin(pool, stack, client, "/v1/plugins/run", {"code": ENDLESS, "limits": LONG, "run_id": one})
    until(lambda: cancelled(client, one)["state"] == "RUN_UNDER_WAY", "the other run of that id is found")
    assert again.result(60).json()["outcome"] == "CANCELLED"


def test_a_run_that_is_waited_for_is_cancelled_on_whatever_replica_it_is(two, pool):
    client = tenant(two)
    plugin = endless(client)
    for _ in range(6):
        one = run_id()
        waiting = begin(pool, two, client, f"/v1/plugins/{plugin}/run", {"run_id": one})
        until(lambda: cancelled(client, one), "the run is found")
        assert waiting.result(60).json()["outcome"] == "CANCELLED"


def test_nobody_cancels_the_run_of_another_tenant(two, pool):
    client, other, one = tenant(two), tenant(two), run_id()
    waiting = begin(pool, two, client, f"/v1/plugins/{endless(client)}/run", {"run_id": one})
    until(lambda: under_way(two) == 1, "it runs")
    for _ in range(4):  # by either replica
        assert not cancelled(other, one)
    assert not waiting.done()
    assert cancelled(two.operator, one) and waiting.result(60).json()["outcome"] == "CANCELLED"


def test_an_id_is_that_of_one_run(stack):
    client, one = tenant(stack), run_id()
    plugin = client.post("/v1/plugins", {"name": "one", "code": "result = 1", "install": True}).json()["id"]
    queued = client.post(f"/v1/plugins/{plugin}/queue", {"run_id": one})
    assert (queued.status_code, queued.json()["id"]) == (202, one)
    assert client.post(f"/v1/plugins/{plugin}/queue", {"run_id": one}).status_code == 409
    until(lambda: client.get(f"/v1/plugins/runs/{one}").json().get("outcome") == "OK", "it has run")
    for wrong in ("run_1", "ten_" + 32 * "a", "run_" + 32 * "A", "run_" + 33 * "a"):
        assert client.post(f"/v1/plugins/{plugin}/run", {"run_id": wrong}).status_code == 400


def test_runs_end_when_their_callers_hang_up(two):
    client = tenant(two)
    plugin, ones = endless(client), [run_id() for _ in range(4)]
    connections = [raw_run(two, client.key, plugin, {"run_id": one}) for one in ones]
    until(lambda: under_way(two) == len(ones), "they run")
    for connection in connections:
        connection.close()
    until(lambda: under_way(two) == 0, "they have ended")
    for one in ones:
        assert until(lambda: client.get(f"/v1/plugins/runs/{one}").json().get("outcome"), "it is kept") == "CANCELLED"


def test_a_run_that_was_left_is_begun_again_under_its_idempotency_key(two):
    client, body = tenant(two), {"run_id": run_id()}
    plugin = endless(client)

    def begun():
        """A call that is not answered; while the one before is still being ended, the answer is 409."""
        connection = raw_run(two, client.key, plugin, body, "Idempotency-Key: again")
        connection.settimeout(1)
        try:
            assert b" 409 " in connection.recv(100)
        except TimeoutError:
            return connection
    for _ in range(2):
        connection = until(begun, "it is begun")
        until(lambda: under_way(two) == 1, "it runs")
        connection.close()
        until(lambda: under_way(two) == 0, "it has ended")


def test_who_waits_in_one_process_may_hang_up_too(serve):
    client, one = tenant(serve), run_id()
    raw_run(serve, client.key, endless(client), {"run_id": one}).close()
    ended = until(lambda: (r := client.get(f"/v1/plugins/runs/{one}").json()).get("outcome") and r, "it has ended")
    assert ended["outcome"] == "CANCELLED"
