"""Endpoints that mean ill: whatever they do with a connection, an attempt ends in time, with the class of its error,
within bounded memory, and other deliveries do not notice.
"""
import pathlib
import shutil
import struct
import subprocess

import pytest
from hostile import (CONTINUATION, DATA, END_HEADERS, END_STREAM, GOAWAY, HEADERS, OK, PING, RST_STREAM, SETTINGS, STATUS_200,
                     Authority, Hostile, answers_each_with_two, answers_unread, closes_at_once, drips, frame, gzip_bomb,
                     http2, repeats, resets, says, says_nothing)
from sink import Sink
from stack import Serve, is_sanitized, until

TIMEOUT_MS = 1500    # of those that do not end by themselves
PATIENCE_MS = 20000  # of those that do
LATE_MS = 10000   # on a machine that is busy with tests
EACH = 5          # events to each of them
MOST_MIB = 48     # that the process may grow by, for all of them at once
HEAD = b"HTTP/1.1 200 OK\r\n"
LARGE = b"Content-Length: 100000000\r\n\r\n"

# What an attempt's error is, None for a success; its status.
ENDPOINTS = {
    "a body that never ends": (repeats(HEAD + b"\r\n", bytes(65536)), (None, 200)),
    "a chunked body that never ends": (repeats(HEAD + b"Transfer-Encoding: chunked\r\n\r\n", b"1000\r\n" + bytes(4096) + b"\r\n"),
                                       (None, 200)),
    "a body of one byte a second": (repeats(HEAD + LARGE, b"x", 1), ("timeout", 200)),
    "a head of one byte a second": (drips(HEAD, 1), ("timeout", None)),
    "a head without an end": (repeats(HEAD, b"X-A: " + b"a" * 1000 + b"\r\n"), ("too_large", 200)),
    "a header without an end": (repeats(HEAD + b"X-A: ", b"a" * 65536), ("too_large", 200)),
    "a status line without an end": (repeats(b"HTTP/1.1 200 ", b"a" * 65536), ("too_large", None)),
    "interim answers for ever": (repeats(b"", b"HTTP/1.1 100 Continue\r\n\r\n"), ("too_large", None)),
    "an interim answer a second": (repeats(b"", b"HTTP/1.1 103 Early Hints\r\n\r\n", 0.3), ("timeout", None)),
    "trailers without an end": (repeats(HEAD + b"Transfer-Encoding: chunked\r\n\r\n0\r\n", b"X-A: " + b"a" * 1000 + b"\r\n"),
                                ("too_large", 200)),
    "a bomb of gzip": (says(HEAD + b"Content-Encoding: gzip\r\nTransfer-Encoding: gzip\r\n\r\n", gzip_bomb()), (None, 200)),
    "HTTP/0.9": (says(b"<html>hello</html>"), ("protocol", None)),
    "no HTTP": (says(b"SSH-2.0-OpenSSH_9.2\r\n"), ("protocol", None)),
    "bytes": (says(bytes(range(256)) * 64), ("protocol", None)),
    "a negative length": (says(HEAD + b"Content-Length: -1\r\n\r\n"), ("protocol", 200)),
    "a length beyond numbers": (says(HEAD + b"Content-Length: 99999999999999999999999\r\n\r\n", then_closes=False), ("timeout", 200)),
    "a chunk beyond numbers": (says(HEAD + b"Transfer-Encoding: chunked\r\n\r\nFFFFFFFFFFFFFFFFF\r\n"), ("connect", 200)),
    "an end in the middle": (says(HEAD + b"Content-Length: 100\r\n\r\n0123456789"), ("connect", 200)),
    "an end in the head": (says(b"HTTP/1.1 200 O"), ("connect", None)),
    "an end before the answer": (closes_at_once, ("connect", None)),
    "a reset": (resets, ("connect", None)),
    "an answer before the request": (answers_unread, (None, 200)),
    "no answer": (says_nothing, ("timeout", None)),
    "an error": (says(b"HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n"), ("status", 500)),
}

LONG = b"\x40\x01a\x7f\x81\x1e" + b"b" * 4000  # a header that HPACK's table keeps, to be named by one byte from then on

# None: any error.
HTTP2_ENDPOINTS = {
    "a good answer": (http2(frame(HEADERS, STATUS_200, END_HEADERS | END_STREAM, 1), after=DATA), (None, 200)),
    "a body that never ends": (http2(frame(HEADERS, STATUS_200, END_HEADERS, 1), frame(DATA, bytes(1000), stream=1)),
                               (None, 200)),
    "no answer": (http2(b""), ("timeout", None)),
    "no room for the request's body": (http2(b"", settings=struct.pack("!HI", 4, 0)), ("timeout", None)),
    "settings for ever": (http2(b"", frame(SETTINGS)), None),
    "pings for ever": (http2(b"", frame(PING, bytes(8))), None),
    "empty data for ever": (http2(frame(HEADERS, STATUS_200, END_HEADERS, 1), frame(DATA, stream=1)), None),
    "a head without an end": (http2(frame(HEADERS, STATUS_200, 0, 1), frame(CONTINUATION, b"\x00\x01a\x01b" * 100, 0, 1)),
                              None),
    "a bomb of headers": (http2(frame(HEADERS, STATUS_200 + LONG + b"\xbe" * 8000, END_HEADERS, 1)), None),
    "a farewell": (http2(frame(GOAWAY, struct.pack("!II", 0, 0))), None),
    "a refusal": (http2(frame(RST_STREAM, struct.pack("!I", 7), stream=1)), None),
    "no frames": (http2(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n" * 10), None),
}


def tenant(stack):
    client = stack.tenant(plan="unlimited", scopes=["events.*", "webhooks.*"])
    until(lambda: client.get("/v1/events").json().get("last_sequence") == 1, "the key's event is in the log")
    return client


def endpoint(client, url, **options):
    made = client.post("/v1/webhooks", {"url": url, "timeout_ms": PATIENCE_MS, "retry_ms": [3600000], **options})
    assert made.status_code == 201, made.text
    return made.json()["endpoint"]["id"]


def timeout_for(expected):
    return PATIENCE_MS if expected and expected[0] != "timeout" else TIMEOUT_MS


def publish(client, count, type_="a.b", data=None):
    events = [{"type": type_, "data": data or {"i": i}} for i in range(count)]
    assert client.post("/v1/events", {"events": events}).status_code == 200


def tried(client, endpoint_id, count):
    """The first tries of an endpoint's deliveries, once there are so many."""
    def look():
        page = client.get(f"/v1/deliveries?endpoint_id={endpoint_id}&page_size=200").json().get("deliveries", [])
        return [d["id"] for d in page if d["attempts"]] if sum(d["attempts"] > 0 for d in page) >= count else None
    found = until(look, "all were tried")
    return [client.get(f"/v1/deliveries/{one}").json()["tries"][0] for one in found]


def most_memory_mib(stack):
    status = pathlib.Path(f"/proc/{stack.serve.popen.pid}/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def stack(authority):
    made = Serve(f"--webhookd.ca_file={authority.path}")
    yield made
    made.stop()


def outcomes(client, endpoints):
    """What the tries of each came to, as a set; and that they ended in time."""
    found = {}
    for name, made in endpoints.items():
        tries = tried(client, made, 1)
        assert all(t["latency_ms"] < PATIENCE_MS + LATE_MS for t in tries), (name, tries)
        found[name] = {(t.get("error"), t.get("status")) for t in tries}
    return found


def test_what_hostile_endpoints_do_is_told_apart_and_harms_nobody(stack):
    client, other = tenant(stack), tenant(stack)
    servers = {name: Hostile(behave) for name, (behave, _) in ENDPOINTS.items()}
    servers["a queue that is full"] = Hostile(says_nothing, backlog=None)
    expected = {name: result for name, (_, result) in ENDPOINTS.items()} | {"a queue that is full": ("timeout", None)}
    before = most_memory_mib(stack)
    with Sink() as sink:
        endpoints = {name: endpoint(client, server.url, timeout_ms=timeout_for(expected[name]))
                     for name, server in servers.items()}
        well = endpoint(other, sink.url, timeout_ms=PATIENCE_MS)
        publish(client, EACH)
        for _ in range(10):
            publish(other, 5)
        found = outcomes(client, endpoints)
        quick = tried(other, well, 50)
    for server in servers.values():
        server.close()
    wrong = {name: (found[name], result) for name, result in expected.items() if found[name] != {result}}
    assert not wrong, "\n".join(f"{name}: {one}" for name, one in wrong.items())
    assert {t.get("error") for t in quick} == {None} and len(sink.hooks) == 50
    assert is_sanitized() or most_memory_mib(stack) - before < MOST_MIB


def test_what_hostile_endpoints_do_in_http_2_ends_in_time_and_harms_nobody(stack, authority):
    client, other = tenant(stack), tenant(stack)
    context = authority.context("IP:127.0.0.1", protocol="h2")
    servers = {name: Hostile(behave, context) for name, (behave, _) in HTTP2_ENDPOINTS.items()}
    before = most_memory_mib(stack)
    with Sink() as sink:
        endpoints = {name: endpoint(client, server.url, timeout_ms=timeout_for(HTTP2_ENDPOINTS[name][1]))
                     for name, server in servers.items()}
        well = endpoint(other, sink.url, timeout_ms=PATIENCE_MS)
        publish(client, 1)
        publish(other, 50)
        found = outcomes(client, endpoints)
        quick = tried(other, well, 50)
    for server in servers.values():
        server.close()
    for name, (_, expected) in HTTP2_ENDPOINTS.items():
        [(error, status)] = found[name]
        assert (error, status) == expected if expected else error, (name, error, status)
    assert {t.get("error") for t in quick} == {None}
    assert is_sanitized() or most_memory_mib(stack) - before < MOST_MIB


def test_a_redirect_is_not_followed(stack):
    client = tenant(stack)
    with Sink() as inner:
        away = Hostile(says(f"HTTP/1.1 302 Found\r\nLocation: {inner.url}/secret\r\nContent-Length: 0\r\n\r\n".encode()))
        made = endpoint(client, away.url)
        publish(client, 1)
        assert [(t["error"], t["status"]) for t in tried(client, made, 1)] == [("status", 302)]
        assert inner.hooks == []
        away.close()


def test_an_answer_too_many_is_not_taken_for_the_next_one(stack):
    client = tenant(stack)
    twice = Hostile(answers_each_with_two)
    made = endpoint(client, twice.url, ordered=True)
    publish(client, EACH)
    assert [(t.get("error"), t["status"]) for t in tried(client, made, EACH)] == [(None, 201)] * EACH
    assert client.get(f"/v1/webhooks/{made}").json().get("disabled_reason") is None
    twice.close()


def test_a_large_event_that_nobody_reads_ends_in_time(stack):
    client = tenant(stack)
    deaf = Hostile(says_nothing)
    made = endpoint(client, deaf.url, timeout_ms=TIMEOUT_MS)
    publish(client, 2, data={"text": "a" * 200000})
    assert {t["error"] for t in tried(client, made, 2)} == {"timeout"}
    deaf.close()


def test_what_corbel_listens_on_itself_is_no_endpoint_though_its_address_is_allowed(stack):
    client = tenant(stack)
    for port in (stack.port, stack.admin_port):
        made = endpoint(client, f"http://127.0.0.1:{port}/livez")
        publish(client, 1)
        assert tried(client, made, 1)[0]["error"] == "refused_address"


@pytest.mark.parametrize("wrong", ["expired", "another name", "signed by itself", "no TLS"])
def test_a_certificate_that_is_not_good_is_no_connection(stack, authority, wrong):
    contexts = {"expired": lambda: authority.context("IP:127.0.0.1", end="20200102000000Z"),
                "another name": lambda: authority.context("DNS:example.com"),
                "signed by itself": lambda: authority.context("IP:127.0.0.1", is_ours=False),
                "no TLS": lambda: None}
    client = tenant(stack)
    bad = Hostile(answers_unread, contexts[wrong]())
    good = Hostile(says(OK), authority.context("IP:127.0.0.1"))
    mades = [endpoint(client, one.url.replace("http:", "https:")) for one in (bad, good)]
    publish(client, 1)
    assert [tried(client, made, 1)[0].get("error") for made in mades] == ["tls", None]
    bad.close()
    good.close()


def test_a_name_that_changes_its_answer_is_judged_at_each_connect(tmp_path):
    compiler = shutil.which("cc")
    if not compiler or is_sanitized():
        pytest.skip("no resolver that lies: it needs a C compiler, and programs without sanitizers")
    library = tmp_path / "changing_names.so"
    subprocess.run([compiler, "-shared", "-fPIC", "-o", library, pathlib.Path(__file__).with_name("changing_names.c")],
                   check=True)
    stack = Serve("--webhookd.allow=127.0.0.1/32", env={"LD_PRELOAD": str(library)})
    client = tenant(stack)
    first, second = Hostile(says(OK)), Hostile(says(OK), address="0.0.0.0")
    try:
        mades = []
        for one in (first, second):  # curl keeps an answer for a name and a port
            mades.append(endpoint(client, f"http://changing.test:{one.port}/"))
            publish(client, 1)
            tried(client, mades[-1], 1)
        assert tried(client, mades[0], 1)[0].get("error") is None and first.connections > 0
        assert tried(client, mades[1], 1)[0]["error"] == "refused_address" and second.connections == 0
    finally:
        stack.stop()
        first.close()
        second.close()
