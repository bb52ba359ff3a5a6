"""The ingress and clients that are slow, many, wrong or hostile."""
import contextlib
import pathlib
import resource
import select
import signal
import threading
import time

import pytest
from raw import Raw, assert_problem
from stack import Serve, Stopwatch, until

HOST = "Host: corbel\r\n"
DRIP_S = 0.2
HEALTH = f"GET /healthz HTTP/1.1\r\n{HOST}\r\n"


@pytest.fixture(scope="module")
def hasty():
    """An ingress that waits for one second at most."""
    stack = Serve("--ingress.request_timeout=1s", "--ingress.idle_timeout=2s", "--ingress.connections_per_address=0")
    yield stack
    stack.stop()


def post(stack, body, *headers, path="/v1/tenants"):
    lines = "".join(f"{line}\r\n" for line in headers)
    return f"POST {path} HTTP/1.1\r\n{HOST}Authorization: Bearer {stack.admin_key}\r\n{lines}\r\n{body}"


def one(stack, text, **kwargs):
    with Raw(stack.port) as raw:
        return raw.send(text).answer(**kwargs)


def seconds_until_closed(raw):
    start = time.monotonic()
    assert raw.is_closed()
    return time.monotonic() - start


# ---- slow clients ----

def drip(raw, text, stop):
    """A byte at a time, until the other side ends it."""
    try:
        for char in text:
            raw.send(char)
            if stop.wait(DRIP_S):
                return
    except OSError:
        pass


@pytest.mark.parametrize("start, rest", [
    ("", f"GET /healthz HTTP/1.1\r\n{HOST}X-Padding: {'a' * 200}\r\n\r\n"),
    ("GET /healthz HTTP/1.1\r\n", f"{HOST}X-Padding: {'a' * 200}\r\n\r\n"),
    (f"POST /v1/tenants HTTP/1.1\r\n{HOST}Content-Length: 200\r\n\r\n", "a" * 200),
], ids=["request line", "header", "body"])
def test_a_request_that_drips_in_is_cut_off(hasty, start, rest):
    with Raw(hasty.port) as raw:
        raw.send(start)
        stop = threading.Event()
        dripping = threading.Thread(target=drip, args=(raw, rest, stop))
        dripping.start()
        try:
            assert seconds_until_closed(raw) < len(rest) * DRIP_S / 2
        finally:
            stop.set()
            dripping.join()


def test_a_client_that_does_not_read_its_answers_is_cut_off(hasty):
    with Raw(hasty.port, receive_buffer=4096) as raw:
        raw.socket.settimeout(0.2)
        with pytest.raises(OSError):
            while True:
                raw.send(f"GET /openapi.json HTTP/1.1\r\n{HOST}\r\n" * 50)
        with Raw(hasty.port) as other:
            assert other.send(HEALTH).answer().status == 200
        gone = select.poll()
        gone.register(raw.socket, 0)  # what is always told: the other side's end
        assert gone.poll(60000)


def test_an_idle_connection_ends_after_the_idle_time(hasty):
    watch = Stopwatch()
    with Raw(hasty.port) as raw:
        assert raw.send(HEALTH).answer().status == 200
        assert raw.is_closed()
    assert watch.passed_s() > 1 and watch.calm_s() < 6


def test_2000_idle_connections_leave_calls_as_fast_as_before(own):
    if resource.getrlimit(resource.RLIMIT_NOFILE)[1] < 6000:
        pytest.skip("too few open files allowed")
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 6000), hard))
    stack = own(Serve, "--ingress.connections_per_address=0")
    client, idle = stack.operator, []
    try:
        idle = [Raw(stack.port) for _ in range(2000)]
        for raw in idle[::10]:
            assert raw.send(HEALTH).answer().status == 200
        watch = Stopwatch()
        for _ in range(20):
            assert client.get("/v1/tenants").status_code == 200
        assert watch.calm_s() < 2
    finally:
        for raw in idle:
            raw.close()
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def is_served(raw):
    try:
        answer = raw.send(HEALTH).answer()
    except OSError:
        return False
    return answer is not None and answer.status == 200


def served(stack):
    """A connection that is served; those that were closed just now may still be counted."""
    def attempt():
        raw = Raw(stack.port)
        if is_served(raw):
            return raw
        raw.close()
    return until(attempt, "a connection is served", 5)


def test_one_address_has_so_many_connections_and_no_more(own):
    stack = own(Serve, "--ingress.connections_per_address=4")
    open_ones = [served(stack) for _ in range(4)]
    with Raw(stack.port) as fifth:
        assert not is_served(fifth)
    open_ones.pop().close()
    open_ones.append(served(stack))
    assert all(is_served(raw) for raw in open_ones)
    for raw in open_ones:
        raw.close()


def test_a_trusted_proxy_has_as_many_connections_as_it_needs(own):
    stack = own(Serve, "--ingress.connections_per_address=4", "--ingress.trusted_proxies=127.0.0.1")
    open_ones = [Raw(stack.port) for _ in range(20)]
    assert all(is_served(raw) for raw in open_ones)
    for raw in open_ones:
        raw.close()


# ---- many requests on one connection ----

def test_pipelined_requests_are_answered_in_their_order(serve):
    paths = ["/healthz", "/nowhere", "/v1/tenants", "/v1/plans/free", "/healthz", "/v1/plans/none"] * 5
    with Raw(serve.port) as raw:
        raw.send("".join(f"GET {path} HTTP/1.1\r\n{HOST}Authorization: Bearer {serve.admin_key}\r\n"
                         f"X-Request-Id: r{i}\r\n\r\n" for i, path in enumerate(paths)))
        answers = [raw.answer() for _ in paths]
    assert [a.headers["x-request-id"] for a in answers] == [f"r{i}" for i in range(len(paths))]
    assert [a.status for a in answers] == [200, 404, 200, 200, 200, 404] * 5


def test_a_body_in_pieces_is_one_body(serve):
    with Raw(serve.port) as raw:
        raw.send(post(serve, "", "Content-Type: application/json", "Transfer-Encoding: chunked"))
        for piece in ('{"na', 'me":', '"Pieces"}'):
            raw.send(f"{len(piece):x}\r\n{piece}\r\n")
        assert raw.send("0\r\n\r\n").answer().status == 201


def test_a_target_in_absolute_form_is_understood(serve):
    assert one(serve, f"GET http://corbel/healthz HTTP/1.1\r\n{HOST}\r\n").status == 200


def test_head_is_get_without_the_body(serve):
    with Raw(serve.port) as raw:
        answer = raw.send(f"HEAD /healthz HTTP/1.1\r\n{HOST}\r\n").answer(has_body=False)
        assert answer.status == 200 and int(answer.headers["content-length"]) > 0
        assert raw.send(HEALTH).answer().body == b'{"status":"pass"}'


def test_a_drain_finishes_what_has_begun_and_sends_clients_elsewhere(own):
    stack = own(Serve)
    body = '{"name":"Late"}'
    with Raw(stack.port) as slow, Raw(stack.port) as other, Raw(stack.port) as idle:
        assert idle.send(HEALTH).answer().status == 200
        assert other.send(HEALTH).answer().headers.get("connection") != "close"
        slow.send(post(stack, body[:5], "Content-Type: application/json", f"Content-Length: {len(body)}"))
        until(lambda: other.send(HEALTH).answer().status == 200, "it serves")
        stack.serve.send(signal.SIGTERM)
        stack.serve.wait_for("stopping")
        answer = until(lambda: (a := other.send(HEALTH).answer()).headers.get("connection") == "close" and a,
                       "answers say that the connection ends", 5)
        assert answer.status == 200 and other.is_closed()
        assert slow.send(body[5:]).answer().status == 201
        assert stack.serve.popen.wait(10) == 0
        assert idle.is_closed()


# ---- refusals ----

def test_a_body_that_is_too_large_is_refused_before_it_is_sent(serve):
    with Raw(serve.port) as raw:
        answer = raw.send(post(serve, "", "Content-Length: 99999999", "Expect: 100-continue")).answer()
        assert_problem(answer, 413, "content-too-large")
        assert raw.is_closed()


@pytest.mark.parametrize("size", [(1 << 20) + 1, 6 << 20])
def test_who_sends_all_of_a_body_that_is_too_large_still_reads_the_answer(serve, size):
    body = b"a" * size
    for _ in range(20):  # whether a reset overtakes the answer is a matter of moments
        with Raw(serve.port) as raw:
            raw.send(post(serve, "", f"Content-Length: {size}"))
            raw.send(body)
            assert_problem(raw.answer(), 413, "content-too-large")
            assert raw.is_closed()


def test_who_goes_on_sending_after_the_refusal_of_his_body_is_cut_off(serve):
    with Raw(serve.port, timeout_s=60) as raw, pytest.raises(OSError):
        raw.send(post(serve, "", "Content-Length: 99999999999"))
        for _ in range(1000):
            raw.send(b"a" * (1 << 20))


def open_at(serve, pid):
    """The connections at the port of the API that the process holds. It opens other files, too, as it needs them."""
    local = f"{serve.port:04X}"
    rows = (line.split() for line in pathlib.Path("/proc/net/tcp").read_text().splitlines()[1:])
    at_port = {f"socket:[{row[9]}]" for row in rows if row[1].endswith(":" + local) and row[3] != "0A"}
    held = set()
    for fd in pathlib.Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):
            held.add(str(fd.readlink()))
    return at_port & held


def test_a_refused_request_that_never_ends_keeps_its_connection_for_some_seconds_only(serve):
    def sockets():
        return len(open_at(serve, serve.serve.popen.pid))
    before = sockets()
    with contextlib.ExitStack() as open_ones:
        raws = [open_ones.enter_context(Raw(serve.port)) for _ in range(20)]
        for raw in raws:
            raw.send(post(serve, "", "Content-Length: 99999999"))
            assert_problem(raw.answer(), 413, "content-too-large")
        assert sockets() >= before + 20
        until(lambda: sockets() < before + 10, "they are closed")


def test_a_body_that_turns_out_too_large_is_refused(serve):
    chunk = f"10000\r\n{'a' * 65536}\r\n"
    answer = one(serve, post(serve, chunk * 17 + "0\r\n\r\n", "Transfer-Encoding: chunked"))
    assert_problem(answer, 413, "content-too-large")


def test_a_body_at_the_bound_is_taken(serve):
    body = '{"name":"Bound"' + " " * ((1 << 20) - 16) + "}"
    headers = ("Content-Type: application/json", f"Content-Length: {len(body)}")
    assert one(serve, post(serve, body, *headers)).status == 201


def test_a_url_that_is_too_long_is_refused(serve):
    fits = f"GET /{'a' * 8191} HTTP/1.1\r\n{HOST}\r\n"
    assert_problem(one(serve, fits), 404, "not-found")
    assert_problem(one(serve, fits.replace("/a", "/aa")), 414, "uri-too-long")


def test_a_head_that_is_too_large_is_refused(serve):
    def padded(size):
        head = f"GET /healthz HTTP/1.1\r\n{HOST}X-Padding: "
        return head + "a" * (size - len(head) - 4) + "\r\n\r\n"
    assert one(serve, padded(10240)).status == 200
    assert_problem(one(serve, padded(10241)), 431, "header-too-large")
    assert one(serve, padded(100000)).status == 431


def test_a_wrong_method_is_told_the_right_ones(serve):
    answer = one(serve, f"DELETE /v1/tenants HTTP/1.1\r\n{HOST}\r\n")
    assert_problem(answer, 405, "method-not-allowed")
    assert answer.headers["allow"] == "GET, POST"
    assert one(serve, f"BREW /healthz HTTP/1.1\r\n{HOST}\r\n").headers["allow"] == "GET, HEAD"
    assert one(serve, f"OPTIONS /v1/tenants HTTP/1.1\r\n{HOST}\r\n").headers["allow"] == "GET, POST"


def test_an_unknown_path_is_not_found(serve):
    assert_problem(one(serve, f"GET /v1/nothing HTTP/1.1\r\n{HOST}\r\n"), 404, "not-found")


def test_a_body_of_another_type_is_refused(serve):
    answer = one(serve, post(serve, "name: x", "Content-Type: text/yaml", "Content-Length: 7"))
    assert_problem(answer, 415, "unsupported-media-type")


def test_every_wrong_field_is_pointed_at(serve):
    body = '{"name": 7, "plan": ["x"], "surplus": 1}'
    answer = one(serve, post(serve, body, "Content-Type: application/json", f"Content-Length: {len(body)}"))
    problem = assert_problem(answer, 400, "invalid-argument")
    assert {e["pointer"] for e in problem["errors"]} == {"/name", "/plan", "/surplus"}


def test_every_problem_type_is_explained(serve):
    page = one(serve, f"GET /docs/problems HTTP/1.1\r\n{HOST}\r\n").body.decode()
    for slug in ("not-found", "unauthenticated", "idempotency-key-reused", "overloaded"):
        assert f'id="{slug}"' in page


@pytest.mark.parametrize("lines", [
    ["Content-Length: 5", "Transfer-Encoding: chunked"],
    ["Content-Length: 5", "Content-Length: 6"],
    ["Content-Length : 5"],
    ["Host: other"],
    ["Transfer-Encoding: chunked", "Transfer-Encoding: chunked"],
], ids=["length and coding", "two lengths", "space in a name", "two hosts", "two codings"])
def test_a_head_that_two_readers_could_read_differently_ends_the_connection(serve, lines):
    with Raw(serve.port) as raw:
        # Whoever reads the body by the other rule would find a second request in it.
        raw.send(post(serve, "0\r\n\r\n" + HEALTH, *lines))
        assert_problem(raw.answer(), 400, "malformed")
        assert raw.is_closed()


def test_an_unknown_transfer_coding_is_refused(serve):
    answer = one(serve, post(serve, "", "Transfer-Encoding: gzip"))
    assert_problem(answer, 501, "unimplemented")


def test_a_request_without_host_is_refused(serve):
    assert_problem(one(serve, "GET /healthz HTTP/1.1\r\n\r\n"), 400, "malformed")
    assert one(serve, "GET /healthz HTTP/1.0\r\n\r\n").status == 200


@pytest.mark.parametrize("text", ["\x00\x01\x02\r\n\r\n", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "GET\r\n\r\n",
                                  f"POST / HTTP/1.1\r\n{HOST}Content-Length: -2\r\n\r\n",
                                  f"POST / HTTP/1.1\r\n{HOST}Content-Length: 99999999999999999999\r\n\r\n",
                                  f"POST / HTTP/1.1\r\n{HOST}Transfer-Encoding: chunked\r\n\r\nZZ\r\n"])
def test_garbage_ends_its_own_connection_only(hasty, text):
    with Raw(hasty.port) as good, Raw(hasty.port) as bad:
        assert good.send(HEALTH).answer().status == 200
        bad.send(text)
        assert good.send(HEALTH).answer().status == 200
        while bad.socket.recv(4096):
            pass


def test_a_key_in_the_url_is_no_key(serve):
    answer = one(serve, f"GET /v1/tenants?api_key={serve.admin_key} HTTP/1.1\r\n{HOST}\r\n")
    assert_problem(answer, 401, "unauthenticated")
    assert answer.headers["www-authenticate"].startswith("Bearer")
