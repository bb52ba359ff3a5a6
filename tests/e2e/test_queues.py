"""Queues over HTTP and the command line: leases, order, bounds, and what a crash leaves of them."""
import concurrent.futures
import json
import os
import re
import signal
import subprocess
import threading
import time

import pytest
from sink import Sink
from stack import BIN, Processes, Serve, Stopwatch, until

SCOPES = ["events.*", "webhooks.*", "queues.*"]


def tenant(stack):
    """A tenant whose log holds one event, of its key, which no endpoint gets that is made after it."""
    client = stack.tenant(plan="unlimited", scopes=SCOPES)
    until(lambda: client.get("/v1/events").json().get("last_sequence") == 1, "the key's event is in the log")
    return client


def queue(client, **options):
    made = client.post("/v1/webhooks", {"sink": "QUEUE", **options})
    assert made.status_code == 201, made.text
    assert "secret" not in made.json() and "public_key" not in made.json()["endpoint"]
    return made.json()["endpoint"]["id"]


def publish(client, *names):
    made = client.post("/v1/events", {"events": [{"type": "a.b", "subject": str(n), "data": {"n": n}} for n in names]})
    assert made.status_code == 200, made.text
    return [e["sequence"] for e in made.json()["events"]]


def receive(client, made, **query):
    got = client.get(f"/v1/queues/{made}/messages", params=query)
    assert got.status_code == 200, got.text
    return got.json().get("messages", [])


def subjects(messages):
    return [m["event"]["subject"] for m in messages]


def outcomes(client, made, verb, messages, **more):
    receipts = [m["receipt"] for m in messages]
    got = client.post(f"/v1/queues/{made}/{verb}", {"receipts": receipts, **more})
    assert got.status_code == 200, got.text
    assert [r["receipt"] for r in got.json()["results"]] == receipts
    return [r["outcome"] for r in got.json()["results"]]


def states(client, **query):
    return [d["state"] for d in client.get("/v1/deliveries", params={"page_size": 200, **query}).json().get("deliveries", [])]


def test_messages_are_leased_oldest_first_and_gone_once_acknowledged(stack):
    client = tenant(stack)
    made = queue(client, filter={"types": ["a.*"]})
    sequences = publish(client, 1, 2, 3)
    first = receive(client, made, max=2)
    assert subjects(first) == ["1", "2"] and [m["attempts"] for m in first] == [1, 1]
    assert first[0]["event"]["data"] == {"n": 1} and first[0]["event"]["sequence"] == sequences[0]
    rest = receive(client, made)
    assert subjects(rest) == ["3"] and receive(client, made) == []
    assert outcomes(client, made, "ack", first) == ["ACCEPTED"] * 2
    assert outcomes(client, made, "ack", first) == ["ACCEPTED"] * 2  # said again
    assert outcomes(client, made, "nack", first) == ["STALE"] * 2
    assert sorted(states(client, endpoint_id=made)) == ["DELIVERED", "DELIVERED", "PENDING"]
    statistics = client.get(f"/v1/webhooks/{made}/statistics").json()
    assert statistics["attempts"] == 2 and statistics["successes"] == 2 and statistics["backlog"] == 1


def test_a_call_waits_for_a_message_no_longer_than_it_says(stack):
    client = tenant(stack)
    made = queue(client)
    begin = time.monotonic()
    assert receive(client, made, wait_ms=300) == [] and time.monotonic() - begin >= 0.3
    with concurrent.futures.ThreadPoolExecutor() as pool:
        waiting = pool.submit(lambda: (receive(client, made, wait_ms=15000), time.monotonic()))
        time.sleep(0.2)  # not as synchronisation: the message may as well come first
        publish(stack.client(client.key), 1)
        messages, at = waiting.result(30)
    assert subjects(messages) == ["1"]


def test_many_calls_wait_at_once_and_hold_up_no_others(stack):
    client = tenant(stack)
    made = queue(client)

    def wait():
        mine = stack.client(client.key)
        return subjects(receive(mine, made, max=1, lease_ms=600000, wait_ms=15000))

    with concurrent.futures.ThreadPoolExecutor(150) as pool:
        waiting = [pool.submit(wait) for _ in range(150)]
        for _ in range(20):  # more than a daemon has workers
            assert client.get("/v1/webhooks").status_code == 200
        for start in range(0, 150, 50):
            publish(client, *range(start, start + 50))
        got = [subject for done in waiting for subject in done.result(60)]
    # Whoever waited too long got nothing, and nobody got what another has.
    assert len(got) == len(set(got)) and set(got) <= {str(n) for n in range(150)}
    rest = []
    until(lambda: rest.extend(subjects(receive(client, made, max=100, lease_ms=600000))) or len(got + rest) == 150,
          "the others are received")
    assert sorted(got + rest, key=int) == [str(n) for n in range(150)]


def test_no_tenants_calls_take_the_waiting_room_of_others(own):
    stack = own(Serve, "--webhookd.queue_waiting=4")
    crowd, other = tenant(stack), tenant(stack)
    crowded, quiet = queue(crowd), queue(other)

    def timed(client, made, wait_ms):
        begin = time.monotonic()
        assert receive(stack.client(client.key), made, max=1, wait_ms=wait_ms) == []
        return time.monotonic() - begin

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        waiting = [pool.submit(timed, crowd, crowded, 15000) for _ in range(6)]
        until(lambda: sum(w.done() for w in waiting) == 4, "those that find no room are answered")
        assert timed(other, quiet, 300) >= 0.3
        assert not all(w.done() for w in waiting)
        publish(crowd, 1, 2)  # ends the others' wait: with a message, which is no failure of theirs
        assert sum(isinstance(w.exception(30), AssertionError) for w in waiting) == 2


def test_a_lease_that_ends_gives_the_message_to_the_next_and_makes_its_receipt_stale(stack):
    client = tenant(stack)
    made = queue(client, retry_ms=[100])
    publish(client, 1)
    old = receive(client, made, lease_ms=1000)
    assert subjects(old) == ["1"] and receive(client, made) == []
    new = receive(client, made, lease_ms=60000, wait_ms=15000)
    assert subjects(new) == ["1"] and new[0]["attempts"] == 2 and new[0]["receipt"] != old[0]["receipt"]
    assert new[0]["event"]["id"] == old[0]["event"]["id"]
    for verb, more in (("ack", {}), ("nack", {}), ("extend", {"lease_ms": 60000})):
        assert outcomes(client, made, verb, old, **more) == ["STALE"]
    assert states(client) == ["PENDING"]
    assert outcomes(client, made, "ack", new) == ["ACCEPTED"]
    delivery = client.get("/v1/deliveries").json()["deliveries"][0]["id"]
    tries = client.get(f"/v1/deliveries/{delivery}").json()["tries"]
    assert [t.get("error") for t in tries] == ["lease_expired", None]


def test_a_lease_can_be_extended_and_given_back(stack):
    client = tenant(stack)
    made = queue(client, retry_ms=[100, 100])
    publish(client, 1)
    held = receive(client, made, lease_ms=1000)
    assert outcomes(client, made, "extend", held, lease_ms=3600000) == ["ACCEPTED"]
    assert receive(client, made, wait_ms=1500) == []
    assert outcomes(client, made, "nack", held, delay_ms=0, reason="not today") == ["ACCEPTED"]
    again = receive(client, made)
    assert again[0]["attempts"] == 2
    begin = time.monotonic()
    assert outcomes(client, made, "nack", again, delay_ms=700) == ["ACCEPTED"]
    assert subjects(receive(client, made, wait_ms=15000)) == ["1"] and time.monotonic() - begin >= 0.7
    delivery = client.get("/v1/deliveries").json()["deliveries"][0]["id"]
    assert client.get(f"/v1/deliveries/{delivery}").json()["tries"][0]["detail"] == "not today"


def test_after_the_last_try_a_message_is_a_dead_letter_that_can_be_sent_again(stack):
    client = tenant(stack)
    observer = queue(client, filter={"types": ["message.attempt.exhausted"]})
    made = queue(client, retry_ms=[100], filter={"types": ["a.*"]})
    publish(client, 1, 2)
    both = receive(client, made, lease_ms=1000)
    assert outcomes(client, made, "nack", both[:1], delay_ms=0) == ["ACCEPTED"]
    assert outcomes(client, made, "nack", receive(client, made)) == ["ACCEPTED"]  # the second try of 1
    assert subjects(receive(client, made, lease_ms=1000, wait_ms=15000)) == ["2"]
    # Nobody fetches: that the last lease of 2 has ended is found all the same.
    until(lambda: states(client, endpoint_id=made) == ["EXHAUSTED"] * 2, "both are given up")
    told = []
    until(lambda: told.extend(receive(client, observer, wait_ms=1000)) or len(told) == 2, "both ends are told")
    assert {m["event"]["data"]["error"] for m in told} == {"nack", "lease_expired"}
    dead = client.get("/v1/deliveries", params={"state": "EXHAUSTED", "endpoint_id": made}).json()["deliveries"]
    assert client.post(f"/v1/deliveries/{dead[0]['id']}/resend").status_code == 200
    assert client.post(f"/v1/webhooks/{made}/recover", {"since": dead[0]["created_at"]}).json() == {"deliveries": 1}
    again = receive(client, made)
    assert sorted(subjects(again)) == ["1", "2"] and {m["attempts"] for m in again} == {3}


def test_a_message_that_keeps_coming_back_and_one_that_recovers_are_told_of(stack):
    client = tenant(stack)
    observer = queue(client, filter={"types": ["message.**"]})
    made = queue(client, retry_ms=[100] * 5, filter={"types": ["a.*"]})
    publish(client, "given back", "forgotten")
    for _ in range(3):
        both = []
        until(lambda: both.extend(receive(client, made, max=2)) or len(both) == 2, "both are leased")
        assert outcomes(client, made, "nack", both, delay_ms=0) == ["ACCEPTED"] * 2
    assert receive(client, observer) == []  # three tries are nothing to tell of
    fourth = {m["event"]["subject"]: m for m in receive(client, made, lease_ms=1000)}
    assert outcomes(client, made, "nack", [fourth["given back"]], delay_ms=0) == ["ACCEPTED"]
    fifth = {}
    until(lambda: fifth.update((m["event"]["subject"], m) for m in receive(client, made, wait_ms=1000)) or len(fifth) == 2,
          "one came back, and the lease of the other has ended")
    assert outcomes(client, made, "ack", list(fifth.values())) == ["ACCEPTED"] * 2
    told = []
    until(lambda: told.extend(receive(client, observer, wait_ms=1000)) or len(told) == 4, "all is told")
    ids = {m["event"]["id"]: subject for subject, m in fifth.items()}
    said = {(m["event"]["type"].rpartition(".")[2], ids[m["event"]["data"]["event_id"]]): m["event"]["data"] for m in told}
    assert said.keys() == {(t, s) for t in ("failing", "recovered") for s in fifth}
    back, forgotten = said["failing", "given back"], said["failing", "forgotten"]
    assert back["error"] == "nack" and back["attempts"] == 4 and back["next_at"] and back["endpoint_id"] == made
    assert forgotten["error"] == "lease_expired" and forgotten["attempts"] == 4 and "next_at" not in forgotten
    assert all(said["recovered", s]["attempts"] == 5 and "error" not in said["recovered", s] for s in fifth)


def test_an_ordered_queue_gives_one_message_at_a_time(stack):
    client = tenant(stack)
    made = queue(client, ordered=True, retry_ms=[100, 100])
    publish(client, 1, 2, 3)
    one = receive(client, made, max=100)
    assert subjects(one) == ["1"] and receive(client, made) == []
    assert outcomes(client, made, "nack", one, delay_ms=400) == ["ACCEPTED"]
    assert receive(client, made) == []  # 2 does not pass 1
    seen = []
    while len(seen) < 3:
        messages = receive(client, made, max=100, wait_ms=15000)
        assert len(messages) == 1
        seen += subjects(messages)
        assert outcomes(client, made, "ack", messages) == ["ACCEPTED"]
    assert seen == ["1", "2", "3"]


def test_a_queue_ordered_by_key_leases_the_first_of_each(stack):
    client = tenant(stack)
    made = queue(client, order_by="/key", retry_ms=[100, 100])
    data = [("a", 1), ("a", 2), ("b", 1), ("a", 3), ("b", 2), (None, 1), (None, 2)]
    client.post("/v1/events", {"events": [{"type": "a.b", "subject": f"{k}{n}", "data": {"key": k} if k else {}} for k, n in data]})
    first = receive(client, made, max=100)
    assert subjects(first) == ["a1", "b1", "None1", "None2"] and receive(client, made) == []
    assert outcomes(client, made, "nack", first[1:2], delay_ms=60000) == ["ACCEPTED"]
    assert outcomes(client, made, "ack", first[:1]) == ["ACCEPTED"]
    second = receive(client, made, max=100)
    assert subjects(second) == ["a2"] and receive(client, made) == []  # b2 does not pass b1
    assert outcomes(client, made, "nack", second, delay_ms=0) == ["ACCEPTED"]
    assert outcomes(client, made, "nack", receive(client, made), delay_ms=0) == ["ACCEPTED"]
    assert outcomes(client, made, "nack", receive(client, made)) == ["ACCEPTED"]  # its last try
    third = receive(client, made, max=100)
    assert subjects(third) == ["a3"]
    assert outcomes(client, made, "ack", third) == ["ACCEPTED"]


def test_no_more_are_leased_than_the_queue_allows(stack):
    client = tenant(stack)
    made = queue(client, concurrency=3)
    publish(client, *range(10))
    held = receive(client, made, max=2) + receive(client, made, max=100)
    assert subjects(held) == ["0", "1", "2"] and receive(client, made) == []
    outcomes(client, made, "ack", held[:1])
    assert subjects(receive(client, made, max=100)) == ["3"]
    assert client.post("/v1/webhooks", {"url": "https://example.com/", "concurrency": 257}).status_code == 400
    assert client.post("/v1/webhooks", {"sink": "QUEUE", "concurrency": 1001}).status_code == 400


def test_many_consumers_never_hold_the_same_message(stack):
    client = tenant(stack)
    made = queue(client)
    for start in range(0, 600, 100):
        publish(client, *range(start, start + 100))
    seen, lock = [], threading.Lock()

    def consume():
        mine = stack.client(client.key)
        while True:
            messages = receive(mine, made, max=7, lease_ms=600000, wait_ms=200)
            if not messages:
                return
            with lock:
                seen.extend(subjects(messages))
            assert outcomes(mine, made, "ack", messages) == ["ACCEPTED"] * len(messages)

    with concurrent.futures.ThreadPoolExecutor(12) as pool:
        for done in [pool.submit(consume) for _ in range(12)]:
            done.result(60)
    assert sorted(seen, key=int) == [str(n) for n in range(600)]
    assert client.get(f"/v1/webhooks/{made}/statistics").json()["backlog"] == 0


def test_a_disabled_queue_keeps_what_comes_as_skipped(stack):
    client = tenant(stack)
    made = queue(client)
    publish(client, 1)
    held = receive(client, made)
    assert client.post(f"/v1/webhooks/{made}/disable").status_code == 200
    assert client.get(f"/v1/queues/{made}/messages").status_code == 409
    publish(client, 2)
    assert states(client, endpoint_id=made) == ["SKIPPED"] * 2
    assert outcomes(client, made, "ack", held) == ["STALE"]
    client.post(f"/v1/webhooks/{made}/enable")
    since = client.get("/v1/deliveries").json()["deliveries"][-1]["created_at"]
    assert client.post(f"/v1/webhooks/{made}/recover", {"since": since}).json() == {"deliveries": 2}
    assert sorted(subjects(receive(client, made))) == ["1", "2"]


def test_what_is_leased_is_not_taken_away_by_sending_it_again(stack):
    client = tenant(stack)
    made = queue(client)
    publish(client, 1)
    held = receive(client, made, lease_ms=600000)
    delivery = client.get("/v1/deliveries").json()["deliveries"][0]
    assert client.post(f"/v1/deliveries/{delivery['id']}/resend").status_code == 200
    assert client.post(f"/v1/webhooks/{made}/recover", {"since": delivery["created_at"]}).json() == {"deliveries": 0}
    assert receive(client, made) == []
    assert outcomes(client, made, "ack", held) == ["ACCEPTED"]


def test_a_queue_is_its_tenants_and_only_a_queue(stack):
    client, other = tenant(stack), tenant(stack)
    made = queue(client)
    publish(client, 1)
    assert other.get(f"/v1/queues/{made}/messages").status_code == 404
    assert other.post(f"/v1/queues/{made}/ack", {"receipts": ["dlv_1.1"]}).status_code == 404
    assert stack.tenant(scopes=["webhooks.*"]).get(f"/v1/queues/{made}/messages").status_code == 403
    with Sink() as sink:
        hook = client.post("/v1/webhooks", {"url": sink.url}).json()["endpoint"]
        assert hook["sink"] == "HTTP"
        assert client.get(f"/v1/queues/{hook['id']}/messages").status_code == 404
    second = queue(client)
    held = receive(client, made)
    assert outcomes(client, second, "ack", held) == ["UNKNOWN"]
    bad = client.post(f"/v1/queues/{made}/ack", {"receipts": ["", "x", "dlv_1.0", "dlv_1.99999999999", "." * 80]})
    assert [r["outcome"] for r in bad.json()["results"]] == ["UNKNOWN"] * 5


@pytest.mark.parametrize("field,value", [("url", "https://example.com/"), ("headers", {"X-A": "b"}), ("timeout_ms", 1000),
                                         ("signing", "HMAC"), ("hub_signature", True), ("rate_per_second", 5),
                                         ("disable_after_ms", 0), ("secret", "whsec_" + "a" * 40)])
def test_what_a_queue_has_no_use_for_is_refused(serve, field, value):
    client = tenant(serve)
    refused = client.post("/v1/webhooks", {"sink": "QUEUE", field: value})
    assert refused.status_code == 400 and refused.json()["errors"][0]["pointer"] == f"/{field}"
    if field != "secret":
        assert client.patch(f"/v1/webhooks/{queue(client)}", {field: value}).status_code == 400


def test_an_http_endpoint_needs_a_url_and_a_queue_has_no_secret_and_no_test(serve):
    client = tenant(serve)
    refused = client.post("/v1/webhooks", {})
    assert refused.status_code == 400 and refused.json()["errors"][0]["pointer"] == "/url"
    owner = serve.tenant(plan="unlimited", scopes=["webhooks.*", "webhooks.secret"])
    made = owner.post("/v1/webhooks", {"sink": "QUEUE"}).json()["endpoint"]["id"]
    assert owner.get(f"/v1/webhooks/{made}/secret").status_code == 409
    assert owner.post(f"/v1/webhooks/{made}/rotate-secret").status_code == 409
    assert owner.post(f"/v1/webhooks/{made}/test").status_code == 409


def test_large_messages_come_in_several_answers(serve):
    client = tenant(serve)
    made = queue(client)
    for n in range(20):
        body = {"events": [{"type": "a.b", "subject": f"{n}.{i}", "data": "x" * 250000} for i in range(2)]}
        assert client.post("/v1/events", body).status_code == 200
    seen = []
    while len(seen) < 40:
        messages = receive(client, made, max=100)
        assert 1 <= len(messages) < 40
        seen += subjects(messages)
        outcomes(client, made, "ack", messages)
    assert seen == [f"{n}.{i}" for n in range(20) for i in range(2)]


def test_the_command_line_receives_and_acknowledges(serve):
    client = tenant(serve)
    made = queue(client)
    publish(client, 1)

    def corbel(*words, output="json"):
        ran = subprocess.run([BIN / "corbel", *words, "--output", output], capture_output=True, text=True, timeout=60,
                             env={**os.environ, "CORBEL_URL": serve.url, "CORBEL_API_KEY": client.key})
        assert ran.returncode == 0, ran.stderr
        return json.loads(ran.stdout) if output == "json" else ran.stdout

    message = corbel("queues", "receive", made, "--wait-ms", "1000")["messages"][0]
    assert message["event"]["data"] == {"n": 1}
    assert corbel("queues", "ack", made, "--receipts", message["receipt"])["results"][0]["outcome"] == "ACCEPTED"
    publish(client, 2, 3)
    receipts = [m["receipt"] for m in corbel("queues", "receive", made, "--max", "2")["messages"]]
    answered = corbel("queues", "ack", made, *receipts)["results"]
    assert [(r["receipt"], r["outcome"]) for r in answered] == [(r, "ACCEPTED") for r in receipts]
    publish(client, 4)
    for output, cells in ("table", r"1 +a\.b +4 +\{\"n\":4\}"), ("csv", r'1,a\.b,4,"\{""n"":4\}"'):
        shown = corbel("queues", "receive", made, "--wait-ms", "1000", "--lease-ms", "1000", output=output)
        assert re.search(cells.replace("1", r"\d", 1), shown), shown


def test_waiting_calls_are_answered_when_the_service_stops(own):
    stack = own(Serve)
    client = tenant(stack)
    made = queue(client)
    with concurrent.futures.ThreadPoolExecutor() as pool:
        waiting = pool.submit(lambda: client.get(f"/v1/queues/{made}/messages", params={"wait_ms": 15000}))
        time.sleep(0.3)  # so that it waits, most likely; the answer is right if it does not
        watch = Stopwatch()
        assert stack.serve.stop() == 0
        assert watch.calm_s() < 12
        try:
            assert waiting.result(30).status_code in (200, 503)
        except OSError:
            pass  # it came after the door was closed


def test_leases_and_acks_outlive_a_kill(own):
    stack = own(Serve)
    client = tenant(stack)
    made = queue(client)
    publish(client, *range(6))
    held = receive(client, made, max=4, lease_ms=600000)
    assert outcomes(client, made, "ack", held[:2]) == ["ACCEPTED"] * 2
    stack.restart(signal.SIGKILL)
    assert subjects(receive(client, made)) == ["4", "5"]
    assert outcomes(client, made, "ack", held) == ["ACCEPTED"] * 4
    assert receive(client, made) == []


def test_two_replicas_give_no_message_twice_and_one_may_be_killed(own):
    stack = own(Processes, replicas={"webhookd": 2})
    stack.until_connected("webhookd")
    client = tenant(stack)
    made = queue(client)
    for start in range(0, 400, 100):
        publish(client, *range(start, start + 100))
    leased, acked, lock, killed = [], [], threading.Lock(), threading.Event()

    def consume():
        mine, quiet = stack.client(client.key), 0
        while quiet < 3:
            got = mine.get(f"/v1/queues/{made}/messages", params={"max": 5, "lease_ms": 600000, "wait_ms": 300})
            messages = got.json().get("messages", []) if got.status_code == 200 else []
            quiet = quiet + 1 if got.status_code == 200 and not messages and killed.is_set() else 0
            with lock:
                leased.extend(subjects(messages))
            for message in messages:
                done = mine.post(f"/v1/queues/{made}/ack", {"receipts": [message["receipt"]]})
                if done.status_code != 200:  # under way when the replica died: said again
                    done = until(lambda: (r := mine.post(f"/v1/queues/{made}/ack", {"receipts": [message["receipt"]]}))
                                 .status_code == 200 and r, "the ack is answered")
                assert done.json()["results"][0]["outcome"] == "ACCEPTED"
                with lock:
                    acked.append(message["event"]["subject"])

    with concurrent.futures.ThreadPoolExecutor(6) as pool:
        running = [pool.submit(consume) for _ in range(6)]
        until(lambda: len(acked) > 60, "some are done")
        stack.by_name["webhookd", 0].stop(signal.SIGKILL)
        killed.set()
        for done in running:
            done.result(120)
    # What was leased by an answer that nobody got waits for its lease to end; nothing else is missing or double.
    assert len(leased) == len(set(leased)) and sorted(acked) == sorted(leased)
    assert 400 - len(acked) <= 5 * 6
    backlog = client.get(f"/v1/webhooks/{made}/statistics").json()["backlog"]
    assert backlog == 400 - len(acked)
