"""GET /v1/stream as WebSocket (RFC 6455): by a client library, and frame by frame for what it would never send."""
import base64
import concurrent.futures
import hashlib
import json
import os
import signal
import struct

import pytest
import websocket
from raw import Raw, assert_problem
from stack import Serve, until
from test_ingress_tls import SecureServe
from test_streams import SCOPES, publish, tenant


def connect(client, query="", scheme="ws", **kwargs):
    """A socket that has been told where it begins."""
    made = websocket.create_connection(
        client.url.replace("http", scheme[:2], 1) + "/v1/stream" + query, timeout=60,
        header=[f"Authorization: Bearer {client.key}"] if client.key else [], suppress_origin="origin" not in kwargs, **kwargs)
    made.begin = json.loads(made.recv())
    return made


def take(made, count):
    return [json.loads(made.recv()) for _ in range(count)]


def closing(made):
    """Reads to the close frame: code and reason."""
    while True:
        opcode, data = made.recv_data(control_frame=True)
        if opcode == websocket.ABNF.OPCODE_CLOSE:
            return struct.unpack("!H", data[:2])[0], data[2:].decode()


def test_each_event_is_a_message_as_the_log_shows_it(stack):
    client = tenant(stack)
    made = connect(client)
    assert made.begin == {"type": "stream.position", "data": {"after": 1}}
    publish(client, 3)
    assert take(made, 3) == client.get("/v1/events?after=1").json()["events"]
    made.close()
    again = connect(client, "?after=2&types=doc.*")
    assert [e["sequence"] for e in take(again, 2)] == [3, 4]
    again.close()


@pytest.mark.parametrize("size", [100, 126 * 50, 70000, 250000])
def test_messages_of_every_size_arrive_whole(stack, size):
    client = tenant(stack)
    made = connect(client)
    publish(client, 3, size=size)
    assert [e["data"]["pad"] for e in take(made, 3)] == ["x" * size] * 3
    made.close()


def test_the_cloudevents_subprotocol_sends_cloudevents(stack):
    client = tenant(stack)
    plain = connect(client)
    publish(client, 5)  # kept by the ingress before it knows of any stream of CloudEvents
    assert take(plain, 5)[4]["sequence"] == 6
    made = connect(client, "?after=2", subprotocols=["other", "cloudevents.json"])
    assert made.getsubprotocol() == "cloudevents.json"
    assert made.begin["specversion"] == "1.0" and made.begin["data"] == {"after": 2}
    publish(client, 2)
    events = take(made, 6)
    wanted = [client.get(f"/v1/events/{e['id']}", headers={"Accept": "application/cloudevents+json"}).json()
              for e in client.get("/v1/events?after=2").json()["events"]]
    assert events == wanted and events[0]["specversion"] == "1.0"
    made.close()
    plain.close()


def test_pings_are_answered_and_a_close_is_returned(stack):
    client = tenant(stack)
    made = connect(client)
    made.ping("are you there")
    assert made.recv_data(control_frame=True) == (websocket.ABNF.OPCODE_PONG, b"are you there")
    made.send_close(1000, b"bye")
    assert closing(made) == (1000, "bye")
    assert made.sock.recv(1) == b""


def test_a_revoked_key_closes_its_sockets(stack):
    client = tenant(stack)
    made = connect(client, "?types=none.at.all")
    assert stack.operator.post(f"/v1/keys/{client.key_id}/revoke").status_code == 200
    assert json.loads(made.recv())["data"]["reason"] == "revoked"
    assert closing(made)[0] == 1008


def test_tokens_open_sockets(stack):
    client = tenant(stack)
    token = client.post("/v1/stream-tokens", {}).json()["token"]
    made = connect(stack.client(), f"?token={token}")
    publish(client)
    assert take(made, 1)[0]["type"] == "doc.made"
    made.close()


# ---------------------------------------------------------------- byte by byte


def upgrade(stack, client, wrap=None, **changes):
    """Sends a handshake; a header that is None is left out."""
    headers = {"Host": f"127.0.0.1:{stack.port}", "Upgrade": "websocket", "Connection": "keep-alive, Upgrade",
               "Sec-WebSocket-Version": "13", "Sec-WebSocket-Key": base64.b64encode(b"0123456789abcdef").decode(),
               "X-API-Key": client.key} | {k.replace("_", "-"): v for k, v in changes.items()}
    raw = Raw(stack.port, timeout_s=60, wrap=wrap)
    raw.send("GET /v1/stream HTTP/1.1\r\n" + "".join(f"{k}: {v}\r\n" for k, v in headers.items() if v is not None) + "\r\n")
    return raw


def frame(opcode, payload=b"", final=True, masked=True, rsv=0, size=None):
    mask = os.urandom(4)
    size = len(payload) if size is None else size
    head = bytes([(0x80 if final else 0) | rsv | opcode])
    bit = 0x80 if masked else 0
    head += bytes([bit | size]) if size < 126 else bytes([bit | 126]) + struct.pack("!H", size) if size < 65536 \
        else bytes([bit | 127]) + struct.pack("!Q", size)
    return head + ((mask + bytes(b ^ mask[i % 4] for i, b in enumerate(payload))) if masked else payload)


def frames(raw):
    """What the server sends, until it ends the connection."""
    while True:
        head = raw.file.read(2)
        if len(head) < 2:
            return
        size = head[1]
        if size == 126:
            size = struct.unpack("!H", raw.file.read(2))[0]
        elif size == 127:
            size = struct.unpack("!Q", raw.file.read(8))[0]
        yield head[0] & 0xf, raw.file.read(size)


def refusal(raw):
    """The code of the close frame that comes, behind which the server ends the connection once it is answered."""
    for opcode, payload in frames(raw):
        if opcode == 8:
            raw.send(frame(8, payload[:2]))
            assert raw.is_closed()
            return struct.unpack("!H", payload[:2])[0]
    raise AssertionError("the connection ended without a close frame")


def opened(stack, client, wrap=None):
    raw = upgrade(stack, client, wrap)
    answer = raw.answer(has_body=False)
    assert answer.status == 101 and answer.headers["upgrade"] == "websocket", answer.headers
    wanted = hashlib.sha1(base64.b64encode(b"0123456789abcdef") + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest()
    assert answer.headers["sec-websocket-accept"] == base64.b64encode(wanted).decode()
    assert "sec-websocket-protocol" not in answer.headers and "content-length" not in answer.headers
    return raw


@pytest.mark.parametrize("changes,status,slug", [
    ({"Sec_WebSocket_Version": "8"}, 426, "upgrade-required"), ({"Sec_WebSocket_Version": None}, 426, "upgrade-required"),
    ({"Sec_WebSocket_Key": None}, 400, "malformed"), ({"Sec_WebSocket_Key": "AAAA"}, 400, "malformed"),
    ({"Connection": "keep-alive"}, 400, "malformed"), ({"Origin": "https://evil.example"}, 403, "permission-denied"),
    ({"X_API_Key": "no"}, 401, "unauthenticated")])
def test_a_handshake_that_is_wrong_is_refused_with_a_problem(serve, changes, status, slug):
    with upgrade(serve, tenant(serve), **changes) as raw:
        answer = raw.answer()
        assert_problem(answer, status, slug)
        if status == 426:
            assert answer.headers["sec-websocket-version"] == "13"


@pytest.mark.parametrize("origin", ["https://app.example", "http://127.0.0.1:{port}"])
def test_pages_of_allowed_origins_and_of_the_host_itself_may_connect(own, origin):
    stack = own(Serve, "--ingress.cors_origins=https://app.example")
    with upgrade(stack, tenant(stack), Origin=origin.format(port=stack.port)) as raw:
        assert raw.answer(has_body=False).status == 101


@pytest.mark.parametrize("sent,code", [
    (frame(1, b"hello"), 1003), (frame(2, b"\x00\xff"), 1003), (frame(1, b"{}", masked=False), 1002),
    (frame(1, b"\xc3\x28"), 1007), (frame(1, b"\xed\xa0\x80"), 1007), (frame(1, b"a" * 5000), 1009),
    (frame(2, b"x", size=2 ** 40), 1009), (frame(9, b"x" * 126), 1002), (frame(9, b"x", final=False), 1002),
    (frame(1, b"x", rsv=0x40), 1002), (frame(3, b"x"), 1002), (frame(0, b"x"), 1002),
    (frame(1, b"a", final=False) + frame(1, b"b"), 1002), (frame(8, b"\x03"), 1002), (frame(8, b"\x03\xed"), 1002),
    (frame(8, b"\x03\xe8\xff"), 1007), (frame(1, b"a", final=False) + frame(9, b"p") + frame(0, b"b"), 1003)])
def test_what_a_client_must_not_send_ends_the_stream_with_its_code(serve, sent, code):
    client = tenant(serve)
    with opened(serve, client) as raw:
        for byte in sent[:40]:
            raw.send(bytes([byte]))  # frames come in any pieces
        raw.send(sent[40:])
        assert refusal(raw) == code


def test_a_client_that_pings_and_never_reads_is_cut_off(serve):
    client = tenant(serve)
    raw = opened(serve, client)
    with pytest.raises(ConnectionError):
        for _ in range(10 ** 5):
            raw.send(frame(9, b"p" * 125) * 500)


def test_a_silent_client_is_dropped_and_one_that_answers_stays(own):
    stack = own(Serve, "--ingress.stream_heartbeat=1s")
    client = tenant(stack)
    answering, silent = connect(client), opened(stack, client)
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        event = pool.submit(take, answering, 1)  # the library answers pings while it waits
        codes = [opcode for opcode, _ in frames(silent)]  # until it is dropped
        assert 9 in codes and codes[-1] != 8
        publish(client)
        assert event.result()[0]["type"] == "doc.made"
    answering.close()


def test_a_server_that_stops_says_so_and_a_slow_client_is_told(own):
    stack = own(Serve, "--ingress.stream_buffer=64KiB")
    client = tenant(stack)
    made, slow = connect(client), Raw(stack.port, timeout_s=60, receive_buffer=4096)
    slow.send(f"GET /v1/stream HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nX-API-Key: {client.key}\r\n"
              "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2RlZg==\r\n\r\n")
    assert slow.answer(has_body=False).status == 101

    def is_dropped():  # it has some time then to take its goodbye
        publish(client, 4, size=200000)
        take(made, 4)
        return stack.metric(stack.serve, "corbel_streams_slow_total") == 1
    until(is_dropped, "the slow client is dropped")
    assert refusal(slow) == 1013
    made.close()
    last = opened(stack, client, None)
    stack.serve.send(signal.SIGTERM)
    assert refusal(last) == 1012
    until(lambda: not stack.serve.is_alive(), "the process has ended")
    assert stack.serve.stop() == 0


def test_sockets_over_tls_flow_and_close(own):
    stack = own(SecureServe)
    client = tenant(stack)
    made = connect(client, sslopt={"ca_certs": str(stack.files / "server.pem"), "check_hostname": False})
    publish(client, 100, size=5000)
    assert [e["sequence"] for e in take(made, 100)] == list(range(2, 102))
    made.ping("x")
    assert made.recv_data(control_frame=True)[0] == websocket.ABNF.OPCODE_PONG
    made.close()
    last = opened(stack, client, stack.wrap())
    stack.serve.send(signal.SIGTERM)
    assert refusal(last) == 1012
    until(lambda: not stack.serve.is_alive(), "the process has ended")
    assert stack.serve.stop() == 0
