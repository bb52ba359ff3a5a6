"""What tells webhookd that there is work may be lost: publications between replicas, Redis, the time at which an
endpoint is due. Nothing is stranded by that. And what waits for one tenant's endpoints takes nothing from another's.
"""
import random
import threading
import time

from rough import RoughSink
from sink import Sink
from stack import Processes, Serve, until


def tenant(stack):
    client = stack.tenant(plan="unlimited", scopes=["events.*", "webhooks.*"])
    until(lambda: client.get("/v1/events").json().get("last_sequence") == 1, "the key's event is in the log")
    return client


def endpoint(client, url, **options):
    made = client.post("/v1/webhooks", {"url": url, **options})
    assert made.status_code == 201, made.text
    return made.json()["endpoint"]["id"]


def publish(client, count):
    made = client.post("/v1/events", {"events": [{"type": "a.b"}] * count})
    assert made.status_code == 200, made.text
    return {e["id"] for e in made.json()["events"]}


def states(client):
    """Of the newest deliveries; none while they cannot be told."""
    return {d["state"] for d in client.get("/v1/deliveries").json().get("deliveries", [])}


def deaf(stack):
    """It hears no publication of webhookd."""
    return [f"--pub.webhookd=ipc://{stack.directory}/run/nobody.pub"]


def test_replicas_that_do_not_hear_each_other_strand_nothing(own):
    stack = own(Processes, replicas={"webhookd": 2}, redis=False, own={"webhookd0": deaf, "webhookd1": deaf})
    client, hangs = tenant(stack), threading.Event()
    with Sink() as sink, Sink(lambda hook: hangs.wait(60) and 200) as busy:
        endpoint(client, sink.url)
        # Its owner waits for an answer all the time, and hears of nothing that the other one records.
        endpoint(client, busy.url, concurrency=64, timeout_ms=60000)
        ids = set()
        for _ in range(40):
            ids |= publish(client, 1)
        sink.wait(lambda h: {x.id for x in h} == ids, "every event", 60)
        hangs.set()
        busy.wait(lambda h: {x.id for x in h} == ids, "every event", 60)


def test_webhooks_do_not_need_redis(own):
    stack = own(Processes)
    client = tenant(stack)
    with Sink() as sink:
        endpoint(client, sink.url)
        stack.redis.stop()
        ids = publish(client, 20)
        sink.wait(lambda h: {x.id for x in h} == ids, "every event", 60)


def test_a_sweep_finds_what_nobody_knows_to_be_due(own):
    stack = own(Processes, "--webhookd.sweep=1s")
    client, is_up = tenant(stack), threading.Event()
    with Sink(lambda hook: 200 if is_up.is_set() else 500) as sink:
        made = [endpoint(client, sink.url, retry_ms=[2000] * 20) for _ in range(3)]
        publish(client, 2)
        sink.wait(lambda h: len(h) >= 6, "the first tries")

        def forget():  # once the endpoints are nobody's, the time when they are due is lost
            stack.postgres.query("UPDATE webhookd.endpoints SET next_at = 253402300799000 WHERE owner = ''")
            return stack.postgres.query("SELECT COUNT(*) FROM webhookd.endpoints WHERE next_at = 253402300799000"
                                        " AND owner = ''") == [[str(len(made))]]
        until(forget, "all endpoints are forgotten")
        is_up.set()
        until(lambda: states(client) == {"DELIVERED"}, "all are delivered")


NO_ATTEMPTS = """
CREATE FUNCTION webhookd.refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'no'; END $$;
CREATE TRIGGER refuse BEFORE INSERT ON webhookd.attempts FOR EACH ROW WHEN (NEW.endpoint_id = '{}')
    EXECUTE FUNCTION webhookd.refuse()"""


def test_an_attempt_that_the_store_does_not_take_holds_up_its_own_endpoint_only(own):
    stack = own(Processes, "--webhookd.lease=2s")
    ill, well = tenant(stack), tenant(stack)
    with Sink() as one, Sink() as other:
        stack.postgres.query(NO_ATTEMPTS.format(endpoint(ill, one.url)))
        endpoint(well, other.url)
        publish(ill, 3)
        one.wait(lambda h: len(h) >= 3, "they are sent")
        ids = set()
        for _ in range(20):
            ids |= publish(well, 1)
            publish(ill, 1)
        other.wait(lambda h: {x.id for x in h} == ids, "the other tenant's", 60)
        until(lambda: states(well) == {"DELIVERED"}, "they are recorded")
        stack.postgres.query("DROP TRIGGER refuse ON webhookd.attempts")
        until(lambda: states(ill) == {"DELIVERED"}, "and those, too, in the end")


SLOW_COMMITS = """
CREATE FUNCTION webhookd.wait() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN PERFORM pg_advisory_xact_lock(1); RETURN NULL; END $$;
CREATE CONSTRAINT TRIGGER wait AFTER INSERT ON webhookd.events DEFERRABLE INITIALLY DEFERRED FOR EACH ROW
    EXECUTE FUNCTION webhookd.wait()"""


def test_an_event_that_is_committed_while_its_endpoint_is_given_back_is_not_forgotten(own):
    stack = own(Processes, "--webhookd.sweep=1h")
    client, arrived, answer = tenant(stack), threading.Event(), threading.Event()

    def hold(_):
        arrived.set()
        return 200 if answer.wait(60) else 500

    with Sink(hold) as sink:
        endpoint(client, sink.url, timeout_ms=60000)
        publish(client, 1)
        until(arrived.is_set, "the first event")
        stack.postgres.query(SLOW_COMMITS)
        with stack.postgres.session("SELECT pg_advisory_lock(1)") as session:
            until(lambda: stack.postgres.query("SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND objid = 1"),
                  "commits wait")
            second = threading.Thread(target=publish, args=(client, 1))
            second.start()
            until(lambda: stack.postgres.query("SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"),
                  "the second event is all but committed")
            answer.set()  # Its courier has no work from now on: it gives the endpoint back, or finds that it may not.
            looked = time.monotonic()
            until(lambda: time.monotonic() - looked > 3 or
                  stack.postgres.query("SELECT 1 FROM webhookd.endpoints WHERE owner = ''"), "it is given back")
            session.stdin.close()
            second.join()
        sink.wait(lambda h: len(h) == 2, "the second event", 30)


def pace(client, sink, seconds=1.5):
    """Deliveries a second."""
    total, end = 0, time.monotonic() + seconds
    start = time.monotonic()
    while time.monotonic() < end:
        ids = set()
        for _ in range(4):
            ids |= publish(client, 50)
        until(lambda: ids <= set(sink.arrivals), "they arrive")
        total += len(ids)
    return total / (time.monotonic() - start)


def test_endpoints_of_one_tenant_that_all_hang_leave_another_its_pace(own):
    stack = own(Serve, "--webhookd.in_flight=256")
    stuck, well = tenant(stack), tenant(stack)
    moments, alone, beside = random.Random(1), [], []
    with RoughSink(moments, {"hang": 1}) as hanging, RoughSink(moments, {}) as quick:
        endpoint(well, quick.url, concurrency=64)
        for _ in range(2):
            alone.append(pace(well, quick))
        for _ in range(40):
            endpoint(stuck, hanging.url, concurrency=256, timeout_ms=30000)
        publish(stuck, 50)
        until(lambda: len(hanging.arrivals) > 3, "they hang")

        def has_its_pace():  # at some time: the machine's own may change meanwhile
            beside.append(pace(well, quick))
            return beside[-1] > max(alone) / 2
        until(has_its_pace, "the other has its pace")
    print(f"deliveries a second: {max(alone):.0f} alone, {max(beside):.0f} beside 40 endpoints that hang")
