"""GET /v1/stream as server-sent events: what happens, in order, without a gap or a duplicate, whatever ends meanwhile."""
import concurrent.futures
import json
import signal
import socket
import subprocess
import threading
import time

import pytest
import requests
from raw import Raw
from sse import Sse
from stack import Processes, Serve, until
from test_ingress_tls import SecureServe

SCOPES = ["events.*"]


def tenant(stack, scopes=SCOPES):
    """A tenant whose log holds one event: that its key was created."""
    client = stack.tenant(plan="unlimited", scopes=scopes)
    until(lambda: client.get("/v1/events").json().get("last_sequence") == 1, "the key's event is in the log")
    return client


def publish(client, count=1, type="doc.made", size=0, **more):
    """Events of this type, in as few requests as may be; returns their sequences."""
    sequences = []
    step = max(1, min(100, 900000 // (size + 200)))
    for at in range(0, count, step):
        events = [{"type": type, "data": {"i": i, **({"pad": "x" * size} if size else {})}, **more}
                  for i in range(at, min(at + step, count))]
        made = client.post("/v1/events", {"events": events})
        assert made.status_code == 200, made.text
        sequences += [e["sequence"] for e in made.json()["events"]]
    return sequences


def ask(client, path="/v1/stream", **kwargs):
    """What a request for a stream is answered; not read when it is one."""
    answer = client.get(path, stream=True, **kwargs)
    if answer.status_code == 200:
        answer.close()
    return answer


def test_a_stream_shows_what_is_published_once_it_has_begun(stack):
    client = tenant(stack)
    publish(client)
    with Sse(client) as stream:
        assert stream.first_id == "2" and stream.retry_ms >= 1000
        publish(client, 3)
        events = stream.take(3)
        assert [e.id for e in events] == ["3", "4", "5"] and {e.event for e in events} == {"doc.made"}
        assert events[0].json() == client.get("/v1/events?after=2").json()["events"][0]


def test_a_stream_resumes_behind_the_last_event_without_gap_or_duplicate(stack):
    client = tenant(stack)
    publish(client, 250)
    with Sse(client, after=0) as stream:
        assert [e.sequence for e in stream.take(120)] == list(range(1, 121))
    publish(client, 50)
    # As browsers do: the query of the first time, and the header.
    with Sse(client, after=0, headers={"Last-Event-ID": stream.last_id}) as stream:
        assert [e.sequence for e in stream.take(181)] == list(range(121, 302))
        publish(client, 2)
        assert [e.sequence for e in stream.take(2)] == [302, 303]


def test_large_events_and_line_ends_arrive_whole(stack):
    client = tenant(stack)
    odd = '{"events": [{"type": "doc.made", "data": {\n"a":\r\n[1.0, "\\n\\u20ac€"] }}]}'
    made = client.session.post(client.url + "/v1/events", data=odd.encode(), headers={"Content-Type": "application/json"})
    assert made.status_code == 200, made.text
    publish(client, 12, size=250000)
    with Sse(client, after=1) as stream:
        assert stream.next().json()["data"] == {"a": [1.0, "\n€€"]}
        for i, event in enumerate(stream.take(12)):
            assert event.json()["data"] == {"i": i, "pad": "x" * 250000}


def test_patterns_and_subjects_choose_the_events(stack):
    client = tenant(stack)
    with Sse(client, types="doc.*, person.**") as types, Sse(client, subject="s1") as subject:
        publish(client, 1, "doc.made", subject="s2")
        publish(client, 1, "doc.version.made", subject="s1")
        publish(client, 1, "person.name.changed", subject="s1")
        assert [e.event for e in types.take(2)] == ["doc.made", "person.name.changed"]
        assert [e.event for e in subject.take(2)] == ["doc.version.made", "person.name.changed"]


@pytest.mark.parametrize("query,status,slug", [
    ("after=9999", 400, "out-of-range"), ("after=x", 400, "invalid-argument"), ("types=doc..made", 400, "invalid-argument"),
    ("types=" + ",".join(["a"] * 33), 400, "invalid-argument"), ("nothing=1", 400, "invalid-argument"),
    ("after=18446744073709551615", 400, "invalid-argument"), ("tenant_id=root", 403, "permission-denied"),
    ("token=cst_1.a.b", 401, "unauthenticated")])
def test_what_cannot_be_streamed_is_refused_with_a_problem(stack, query, status, slug):
    client = tenant(stack)
    answer = ask(client, "/v1/stream?" + query)
    assert answer.status_code == status and answer.json()["type"].endswith("#" + slug), answer.text


def test_a_stream_needs_a_key_with_the_scope_to_read_events(stack):
    assert ask(stack.client()).status_code == 401
    assert ask(stack.tenant(scopes=["keys.read"])).status_code == 403
    assert tenant(stack).post("/v1/stream").status_code == 405
    assert stack.client().request("HEAD", "/v1/stream").status_code == 405
    assert ask(tenant(stack), headers={"Last-Event-ID": "one"}).status_code == 400


def test_operators_stream_any_tenants_log(stack):
    client = tenant(stack)
    with Sse(stack.operator, tenant_id=client.tenant_id) as stream:
        publish(client)
        assert stream.next().json()["tenant_id"] == client.tenant_id


def test_tenants_see_their_own_events_only(stack):
    one, two = tenant(stack), tenant(stack)
    with Sse(one) as first, Sse(two) as second:
        publish(one, 1, "doc.one")
        publish(two, 1, "doc.two")
        assert (first.next().event, second.next().event) == ("doc.one", "doc.two")


def test_a_revoked_key_ends_its_streams_at_once_and_no_others(stack):
    client, other = tenant(stack), tenant(stack)
    with Sse(client) as stream, Sse(client) as second, Sse(other) as bystander:
        began = time.monotonic()
        assert stack.operator.post(f"/v1/keys/{client.key_id}/revoke").status_code == 200
        for each in stream, second:
            # The revocation itself is an event of the log, which may come before or never.
            while (event := each.next()) and event.event != "stream.revoked":
                assert event.event.startswith("security.apikey.")
            assert event.json()["data"]["reason"] == "revoked"
            assert each.next() is None
        assert time.monotonic() - began < 60
        publish(other)
        assert bystander.next().event == "doc.made"


def test_a_key_that_loses_the_scope_or_ends_takes_its_streams_along(stack):
    client = tenant(stack)
    with Sse(client, types="none.at.all") as stream:
        changed = stack.operator.patch(f"/v1/keys/{client.key_id}", {"name": "still good"})
        assert changed.status_code == 200
        changed = stack.operator.patch(f"/v1/keys/{client.key_id}", {"scopes": ["keys.read"]})
        assert changed.status_code == 200
        assert stream.next().json()["data"]["reason"] == "missing_scope"
    other = tenant(stack)
    with Sse(other, types="none.at.all") as stream:
        soon = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 2))
        assert stack.operator.patch(f"/v1/keys/{other.key_id}", {"expires_at": soon}).status_code == 200
        assert stream.next().json()["data"]["reason"] == "expired"


# ---------------------------------------------------------------- tokens


def test_a_token_opens_streams_of_its_key_with_no_more_than_it_was_given(stack):
    client = tenant(stack)
    made = client.post("/v1/stream-tokens", {"types": ["doc.*"]})
    assert made.status_code == 201, made.text
    with Sse(stack.client(), token=made.json()["token"], types="doc.made,person.**") as stream:
        publish(client, 1, "person.made")
        publish(client, 1, "doc.sent")
        publish(client, 1, "doc.made")
        assert stream.next().event == "doc.made"
        assert stack.operator.post(f"/v1/keys/{client.key_id}/revoke").status_code == 200
        assert stream.next().event == "stream.revoked"
    assert ask(stack.client(), params={"token": made.json()["token"]}).status_code == 401


def test_a_token_is_good_for_its_time_and_for_nothing_else(stack):
    client = tenant(stack)
    short = client.post("/v1/stream-tokens", {"ttl_ms": 1000}).json()["token"]
    token = client.post("/v1/stream-tokens", {"ttl_ms": 3600000}).json()["token"]
    with Sse(stack.client(), token=short) as stream:
        until(lambda: ask(stack.client(), params={"token": short}).status_code == 401,
              "the token is over")
        publish(client)
        assert stream.next().event == "doc.made"  # what is open goes on
    assert stack.client(token).get("/v1/events").status_code == 401
    changed = token[:-2] + ("A" if token[-2] != "A" else "B") + token[-1]
    assert ask(stack.client(), params={"token": changed}).status_code == 401
    pepper, content, mac = token.split(".")
    assert ask(stack.client(), params={"token": f"{pepper}.{content}AA.{mac}"}).status_code == 401
    assert client.post("/v1/stream-tokens", {"types": ["doc..made"]}).json()["errors"][0]["pointer"] == "/types/0"
    assert stack.tenant(scopes=["keys.read"]).post("/v1/stream-tokens", {}).status_code == 403


def test_a_token_opens_streams_at_any_ingress_whichever_accountd_made_it(own):
    stack = own(Processes, replicas={"accountd": 2, "ingress": 2})
    client = tenant(stack)
    made = [client.post("/v1/stream-tokens", {}).json()["token"] for _ in range(6)]
    reader = stack.client()
    for i, token in enumerate(made):
        reader.url = stack.url_of(i % 2)
        with Sse(reader, token=token, after=0) as stream:
            assert stream.next().sequence == 1


def test_tokens_are_not_logged_and_pages_of_allowed_origins_may_use_them(own):
    stack = own(Serve, "--log.level=debug", "--ingress.cors_origins=https://app.example")
    client = tenant(stack)
    token = client.post("/v1/stream-tokens", {}).json()["token"]
    with Sse(stack.client(), token=token, headers={"Origin": "https://app.example"}) as stream:
        assert stream.reply.headers["Access-Control-Allow-Origin"] == "https://app.example"
        assert stream.reply.headers["Vary"] == "Origin" and stream.reply.headers["Cache-Control"] == "no-store"
    assert ask(stack.client(), params={"token": token + "x", "after": "y"}).status_code == 400
    assert token not in stack.logs(10 ** 9) and token.split(".")[2] not in stack.logs(10 ** 9)


# ---------------------------------------------------------------- bounds


@pytest.fixture(scope="module")
def narrow():
    stack = Serve("--ingress.streams=6", "--ingress.streams_per_tenant=4", "--ingress.stream_buffer=64KiB",
                  "--ingress.stream_heartbeat=1s")
    yield stack
    stack.stop()


def test_the_number_of_streams_is_bounded_and_places_come_back(narrow):
    one, two = tenant(narrow), tenant(narrow)
    mine = [Sse(one) for _ in range(4)]
    refused = ask(one)
    assert refused.status_code == 429 and refused.json()["type"].endswith("#too-many-streams"), refused.text
    theirs = [Sse(two) for _ in range(2)]
    refused = ask(two)
    assert refused.status_code == 503 and "Retry-After" in refused.headers, refused.text
    mine.pop().close()
    until(lambda: ask(two).status_code == 200, "there is a place again")
    for stream in mine + theirs:
        stream.close()
    until(lambda: "corbel_streams_open 0" in
          requests.get(f"http://127.0.0.1:{narrow.admin_port}/metrics", timeout=20).text, "all places are free again")


def test_heartbeats_tell_where_a_quiet_stream_is(narrow):
    client = tenant(narrow)
    with Sse(client, types="person.*") as stream:
        publish(client, 7)
        until(lambda: stream.until_heartbeat() or stream.last_id == "8", "the position is told")


def test_a_client_that_does_not_read_is_told_dropped_and_can_resume(narrow):
    client = tenant(narrow)
    slow = Raw(narrow.port, timeout_s=60, receive_buffer=4096)
    slow.send(f"GET /v1/stream HTTP/1.0\r\nHost: x\r\nX-API-Key: {client.key}\r\n\r\n")
    assert slow.file.readline().startswith(b"HTTP/1.1 200")
    seen = []
    with Sse(client) as quick:
        total = 0
        def is_dropped():
            publish(client, 20, size=20000)
            seen.extend(e.sequence for e in quick.take(20))
            page = requests.get(f"http://127.0.0.1:{narrow.admin_port}/metrics", timeout=20).text
            return "corbel_streams_slow_total 1" in page
        until(is_dropped, "the slow client is dropped")
        assert seen == list(range(2, 2 + len(seen)))  # nobody else noticed
    text = slow.file.read().decode()
    blocks = [b for b in text.split("\n\n") if "\ndata:" in b]
    assert "event: stream.slow" in blocks[-1]
    got = [json.loads(b.split("\ndata: ")[1])["sequence"] for b in blocks[:-1]]
    assert got == list(range(2, 2 + len(got)))
    with Sse(client, after=got[-1]) as again:
        assert [e.sequence for e in again.take(5)] == list(range(got[-1] + 1, got[-1] + 6))


# ---------------------------------------------------------------- what ends meanwhile


class Follower(threading.Thread):
    """Follows a log and comes back by the last id whenever the stream ends, like a browser."""

    def __init__(self, client, urls, last):
        super().__init__(daemon=True)
        self.client, self.urls, self.last = client, urls, last
        self.sequences, self.opened = [], 0
        self.start()

    def run(self):
        last_id = "0"
        for turn in range(10 ** 6):
            if self.sequences and self.sequences[-1] >= self.last():
                return
            self.client.url = self.urls[turn % len(self.urls)]
            try:
                with Sse(self.client, headers={"Last-Event-ID": last_id}, timeout_s=20) as stream:
                    self.opened += 1
                    while (event := stream.next()):
                        assert event.event not in ("stream.gap", "stream.slow"), event.data
                        self.sequences.append(event.sequence)
                        last_id = event.id
                        if event.sequence >= self.last():
                            return
            except (ConnectionError, AssertionError, requests.RequestException):
                time.sleep(0.05)


def follow_through(stack, urls, kill, count):
    """Publishes `count` events while kill() is called now and then; every follower sees each once, in order."""
    client = tenant(stack)
    last = [10 ** 9]
    followers = [Follower(stack.client(client.key), urls[i:] + urls[:i], lambda: last[0]) for i in range(len(urls)) for _ in range(3)]
    made = [0]

    def publish_some():
        while made[0] < count:
            events = [{"type": "doc.made", "id": f"{client.tenant_id}-{made[0] + i}"} for i in range(50)]
            try:
                answer = client.session.post(urls[0] + "/v1/events", json={"events": events}, timeout=20)
                if answer.status_code == 200:
                    made[0] += 50
            except requests.RequestException:
                time.sleep(0.05)

    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        publishing = pool.submit(publish_some)
        for part in range(1, 7):
            until(lambda: made[0] >= part * count // 7 or publishing.done(), "events are published")
            kill()
        publishing.result()
    until(lambda: client_get(stack, client, urls[0]) is not None, "the stack is back")
    last[0] = client_get(stack, client, urls[0])
    assert last[0] == count + 1
    publish_until(client, urls[0], followers)
    for follower in followers:
        follower.join(60)
        assert not follower.is_alive(), f"at {follower.sequences[-1:]} of {last[0]}"
        assert follower.sequences[:count + 1] == list(range(1, count + 2))
    return followers


def client_get(stack, client, url):
    try:
        return client.session.get(url + "/v1/events?after=0", timeout=20).json()["last_sequence"]
    except (requests.RequestException, KeyError, ValueError):
        return None


def publish_until(client, url, followers):
    """A follower looks whether it is done when there is an event."""
    def step():
        if all(not f.is_alive() for f in followers):
            return True
        try:
            client.session.post(url + "/v1/events", json={"events": [{"type": "the.end"}]}, timeout=20)
        except requests.RequestException:
            pass
        time.sleep(0.1)
        return False
    until(step, "all followers are done")


def test_followers_see_every_event_once_though_the_server_is_killed(own):
    stack = own(Serve)
    followers = follow_through(stack, [stack.url], lambda: stack.restart(signal.SIGKILL), 4000)
    assert all(f.opened > 1 for f in followers)


def test_followers_see_every_event_once_though_webhookd_and_an_ingress_are_killed(own):
    stack = own(Processes, replicas={"ingress": 2})
    turns = iter(range(10 ** 6))

    def kill():
        name, number = ("webhookd", 0) if next(turns) % 2 == 0 else ("ingress", 1)
        stack.by_name[name, number].stop(signal.SIGKILL)
        stack.start_daemon(name, number)
    follow_through(stack, [stack.url_of(0), stack.url_of(1)], kill, 4000)


def test_open_streams_outlive_the_log_and_go_on_when_it_is_back(own):
    stack = own(Processes)
    client = tenant(stack)
    with Sse(client) as stream:
        publish(client)
        assert stream.next().sequence == 2
        stack.by_name["webhookd", 0].stop()
        assert ask(client).status_code in (503, 504)  # it cannot be known where "now" is
        with Sse(client, after=2) as resumed:
            stack.start_daemon("webhookd")
            until(lambda: client.post("/v1/events", {"events": [{"type": "doc.made"}]}).status_code == 200, "webhookd is back")
            assert stream.next().event == "doc.made" and resumed.next().event == "doc.made"


def in_sql(stack, *statements):
    subprocess.run([stack.postgres.bin / "psql", "-q", stack.postgres.url, "-c", f"BEGIN; {'; '.join(statements)}; COMMIT"],
                   check=True)


def test_what_retention_has_dropped_is_said_and_a_log_that_is_another_ends_its_streams(own):
    stack = own(Processes)
    client = tenant(stack)
    publish(client, 100)
    in_sql(stack, "DELETE FROM webhookd.events WHERE sequence <= 60", "UPDATE webhookd.logs SET first_sequence = 61")
    with Sse(client, after=10) as stream:
        gap = stream.next()
        assert gap.event == "stream.gap" and gap.json()["data"] == {"after": 10, "first_sequence": 61}
        assert gap.id == "60"
        assert [e.sequence for e in stream.take(41)] == list(range(61, 102))
        in_sql(stack, "DELETE FROM webhookd.events WHERE sequence > 70", "UPDATE webhookd.logs SET last_sequence = 70")
        assert stream.next() is None
    assert ask(client, "/v1/stream?after=101").status_code == 400


def test_a_server_that_stops_ends_its_streams_in_order(own):
    stack = own(Serve)
    client = tenant(stack)
    with Sse(client) as stream:
        publish(client)
        assert stream.next().sequence == 2
        stack.serve.send(signal.SIGTERM)
        assert stream.next() is None  # an end, not a cut
    until(lambda: not stack.serve.is_alive(), "the process has ended")
    assert stack.serve.stop() == 0


def test_streams_over_tls_flow_resume_and_end_like_any(own):
    stack = own(SecureServe)
    client = tenant(stack)
    publish(client, 300, size=5000)
    with Sse(client, after=0) as stream:
        assert [e.sequence for e in stream.take(301)] == list(range(1, 302))
        publish(client)
        assert stream.next().sequence == 302
    with Sse(client, after=302) as stream:
        assert stack.operator.post(f"/v1/keys/{client.key_id}/revoke").status_code == 200
        while (event := stream.next()) and event.event != "stream.revoked":
            pass
        assert event and stream.next() is None
    other = tenant(stack)
    open_streams = [Sse(other) for _ in range(5)]
    stack.serve.send(signal.SIGTERM)
    assert [s.next() for s in open_streams] == [None] * 5
    until(lambda: not stack.serve.is_alive(), "the process has ended")
    assert stack.serve.stop() == 0


def test_clients_that_leave_or_talk_leave_nothing_behind(own):
    stack = own(Serve)
    client = tenant(stack)
    for i in range(40):
        raw = Raw(stack.port)
        raw.send(f"GET /v1/stream HTTP/1.1\r\nHost: x\r\nX-API-Key: {client.key}\r\n\r\n")
        if i % 2:
            assert raw.file.readline().startswith(b"HTTP/1.1 200")
            raw.send(b"GET / HTTP/1.1\r\n\r\n" * 100)
        if i % 4 == 1:
            raw.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        raw.close()
    until(lambda: "corbel_streams_open 0" in
          requests.get(f"http://127.0.0.1:{stack.admin_port}/metrics", timeout=20).text, "all streams are over")
    assert tenant(stack).get("/v1/events").status_code == 200
