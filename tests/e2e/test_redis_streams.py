"""Endpoints of the sink REDIS_STREAM: what consumer groups read from a real Redis, also when it was killed."""
import signal
import socket
import time

import pytest
from stack import Processes, Redis, Serve, free_port, until

SCOPES = ["events.*", "webhooks.*"]


class Durable(Redis):
    """A Redis that keeps what it has answered for."""

    def start(self):
        self.process = self.stack.spawn("redis-streams", [
            "redis-server", "--port", self.port, "--bind", "127.0.0.1", "--save", "", "--appendonly", "yes",
            "--appendfsync", "always", "--dir", self.stack.directory])
        until(self.is_up, "Redis accepts connections")

    def kill(self):
        self.process.stop(signal.SIGKILL)

    def ask(self, *words):
        """One command by hand: what any client of Redis says."""
        with socket.create_connection(("127.0.0.1", self.port), 10) as conn:
            parts = [str(w).encode() for w in words]
            conn.sendall(b"*%d\r\n" % len(parts) + b"".join(b"$%d\r\n%s\r\n" % (len(p), p) for p in parts))
            return self.answer(conn.makefile("rb"))

    def answer(self, stream):
        line = stream.readline().rstrip()
        kind, rest = line[:1], line[1:]
        if kind == b"-":
            raise AssertionError(rest.decode())
        if kind == b":":
            return int(rest)
        if kind == b"$":
            return None if rest == b"-1" else stream.read(int(rest) + 2)[:-2].decode()
        if kind == b"*":
            return None if rest == b"-1" else [self.answer(stream) for _ in range(int(rest))]
        return rest.decode()

    def entries(self, key):
        return [dict(zip(e[1][::2], e[1][1::2])) for e in self.ask("XRANGE", key, "-", "+")]


class Somewhere:
    """A directory for a Redis that is started before its stack."""

    def __init__(self, directory):
        self.directory = directory
        self.processes = []

    def spawn(self, name, argv):
        from stack import Process
        self.processes.append(Process(name, argv, self.directory))
        return self.processes[-1]

    def stop(self):
        for process in self.processes:
            if process.is_alive():
                process.stop()


@pytest.fixture
def redis(tmp_path):
    place = Somewhere(tmp_path)
    yield Durable(place)
    place.stop()


def tenant(stack):
    client = stack.tenant(plan="unlimited", scopes=SCOPES)
    until(lambda: client.get("/v1/events").json().get("last_sequence") == 1, "the key's event is in the log")
    return client


def endpoint(client, **options):
    made = client.post("/v1/webhooks", {"sink": "REDIS_STREAM", "stream": "orders", **options})
    assert made.status_code == 201, made.text
    assert "secret" not in made.json()
    return made.json()["endpoint"]["id"]


def key(client):
    return f"corbel:{{{client.tenant_id}}}:orders"


def publish(client, *names):
    made = client.post("/v1/events", {"events": [{"type": "a.b", "subject": str(n), "data": {"n": n}} for n in names]})
    assert made.status_code == 200, made.text
    return [e["id"] for e in made.json()["events"]]


def states(client, **query):
    """["UNKNOWN"] while they cannot be told."""
    answer = client.get("/v1/deliveries", params={"page_size": 200, **query})
    return [d["state"] for d in answer.json().get("deliveries", [])] if answer.status_code == 200 else ["UNKNOWN"]


def failed_tries(client, endpoint_id):
    said = client.get(f"/v1/webhooks/{endpoint_id}/statistics").json()
    return said.get("attempts", 0) - said.get("successes", 0)


def test_a_consumer_group_reads_what_was_published(own, redis):
    stack = own(Serve, f"--webhookd.redis_url={redis.url}")
    client = tenant(stack)
    made = endpoint(client, ordered=True, filter={"types": ["a.*"]})
    redis.ask("XGROUP", "CREATE", key(client), "billing", "$", "MKSTREAM")
    ids = publish(client, 1, 2, 3)
    until(lambda: states(client) == ["DELIVERED"] * 3, "all are delivered")
    [[name, entries]] = redis.ask("XREADGROUP", "GROUP", "billing", "me", "COUNT", 10, "STREAMS", key(client), ">")
    fields = [dict(zip(e[1][::2], e[1][1::2])) for e in entries]
    assert name == key(client) and [f["id"] for f in fields] == ids and [f["webhook-id"] for f in fields] == ids
    assert fields[0] | {"timestamp": "", "id": "", "webhook-id": ""} == {
        "id": "", "webhook-id": "", "timestamp": "", "type": "a.b", "subject": "1", "sequence": "2",
        "tenant": client.tenant_id, "data": '{"n": 1}'}  # byte for byte
    assert redis.ask("XACK", key(client), "billing", *[e[0] for e in entries]) == 3
    delivery = client.get("/v1/deliveries").json()["deliveries"][-1]["id"]
    assert client.get(f"/v1/deliveries/{delivery}").json()["tries"][0]["response"] == entries[0][0]
    tried = client.post(f"/v1/webhooks/{made}/test").json()
    assert tried["success"] and redis.entries(key(client))[-1]["type"] == "system.test.pinged"


def test_what_is_sent_again_on_purpose_is_appended_again(own, redis):
    stack = own(Serve, f"--redis.url={redis.url}")
    client = tenant(stack)
    endpoint(client)
    publish(client, 1)
    until(lambda: states(client) == ["DELIVERED"], "it is delivered")
    delivery = client.get("/v1/deliveries").json()["deliveries"][0]["id"]
    assert client.post(f"/v1/deliveries/{delivery}/resend").status_code == 200
    until(lambda: len(redis.entries(key(client))) == 2, "it comes again")
    first, again = redis.entries(key(client))
    assert first == again


def test_nothing_is_lost_and_nothing_comes_twice_while_redis_is_killed(own, redis):
    stack = own(Serve, f"--webhookd.redis_url={redis.url}")
    client = tenant(stack)
    made = endpoint(client, retry_ms=[200] * 20, filter={"types": ["a.*"]})
    wanted = []
    for turn in range(3):
        wanted += publish(client, *range(100))
        if turn < 2:
            redis.kill()
            wanted += publish(client, *range(50))
            until(lambda: failed_tries(client, made) > 0, "a try fails")
            redis.start()
    since = client.get("/v1/webhooks/" + made).json()["created_at"]

    def all_delivered():
        # A pause after failures in a row may be longer than the test: recovering goes on with what was given up.
        if "EXHAUSTED" in states(client, endpoint_id=made, state="EXHAUSTED"):
            client.post(f"/v1/webhooks/{made}/recover", {"since": since})
        return client.get(f"/v1/webhooks/{made}/statistics").json().get("backlog") == 0 and \
            states(client, endpoint_id=made, state="EXHAUSTED") == []
    until(all_delivered, "all are delivered", 120)
    got = [e["id"] for e in redis.entries(key(client))]
    assert sorted(got) == sorted(wanted)


def test_a_try_that_was_not_answered_is_not_appended_twice(own, redis):
    stack = own(Serve, f"--webhookd.redis_url={redis.url}")
    client = tenant(stack)
    made = endpoint(client, retry_ms=[200] * 20)
    publish(client, 1)
    until(lambda: states(client) == ["DELIVERED"], "the first arrives")
    # Redis reads the command and does it, but its answer comes after Corbel's patience.
    redis.process.send(signal.SIGSTOP)
    publish(client, 2)
    until(lambda: failed_tries(client, made) > 0, "the try has failed")
    redis.process.send(signal.SIGCONT)
    until(lambda: states(client) == ["DELIVERED"] * 2, "the second arrives", 120)
    assert [e["subject"] for e in redis.entries(key(client))] == ["1", "2"]


def test_a_stream_is_kept_to_about_its_length(own, redis):
    stack = own(Serve, f"--webhookd.redis_url={redis.url}")
    client = tenant(stack)
    endpoint(client, stream_max_len=100, filter={"types": ["a.*"]})
    for start in range(0, 1000, 100):
        publish(client, *range(start, start + 100))
    until(lambda: states(client, state="PENDING") == [], "all are delivered")
    assert 100 <= redis.ask("XLEN", key(client)) <= 300  # Redis drops whole nodes of a hundred entries


def test_a_key_of_another_kind_is_told_and_given_up(own, redis):
    stack = own(Serve, f"--webhookd.redis_url={redis.url}")
    client = tenant(stack)
    endpoint(client, retry_ms=[100])
    redis.ask("SET", key(client), "mine")
    publish(client, 1)
    until(lambda: states(client, state="EXHAUSTED") == ["EXHAUSTED"], "it is given up")
    delivery = client.get("/v1/deliveries").json()["deliveries"][-1]["id"]
    tries = client.get(f"/v1/deliveries/{delivery}").json()["tries"]
    assert [t["error"] for t in tries] == ["redis"] * 2 and "WRONGTYPE" in tries[0]["detail"]


def test_two_replicas_append_each_event_once_and_one_may_be_killed(own):
    stack = own(Processes, replicas={"webhookd": 2})
    client = tenant(stack)
    made = endpoint(client, filter={"types": ["a.*"]})
    redis = Durable.__new__(Durable)
    redis.port = stack.redis.port
    wanted = publish(client, *range(100))
    stack.by_name["webhookd", 0].stop(signal.SIGKILL)
    wanted += until(lambda: (r := client.post("/v1/events", {"events": [{"type": "a.b", "id": "after"}]})).status_code == 200
                    and ["after"], "the other replica takes events")
    until(lambda: client.get(f"/v1/webhooks/{made}/statistics").json().get("backlog") == 0, "all are delivered")
    assert sorted(e["id"] for e in redis.entries(key(client))) == sorted(wanted)


def test_without_redis_such_an_endpoint_is_refused_with_the_option_it_needs(serve):
    client = tenant(serve)
    refused = client.post("/v1/webhooks", {"sink": "REDIS_STREAM", "stream": "orders"})
    assert refused.status_code == 400
    assert refused.json()["errors"][0]["pointer"] == "/sink" and "webhookd.redis_url" in refused.json()["errors"][0]["detail"]
    refused = client.post("/v1/webhooks", {"sink": "REDIS_STREAM"})
    assert refused.json()["errors"][0]["pointer"] == "/stream"
    refused = client.post("/v1/webhooks", {"sink": "QUEUE", "stream": "orders"})
    assert refused.json()["errors"][0]["pointer"] == "/stream"
