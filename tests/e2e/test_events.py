"""The event log over HTTP: publishing, reading, and what never happens to it."""
import concurrent.futures
import datetime

SCOPES = ["events.*", "webhooks.*"]


def publish(client, *events, **headers):
    return client.post("/v1/events", {"events": list(events)}, headers=headers or None)


def when(event):
    return datetime.datetime.fromisoformat(event["recorded_at"].replace("Z", "+00:00"))


def test_published_events_are_read_back_in_order(stack):
    client = stack.tenant(plan="unlimited", scopes=SCOPES)
    made = publish(client, {"type": "file.uploaded", "subject": "f1", "data": {"size": 9007199254740993}},
                   {"type": "user.created"})
    assert made.status_code == 200, made.text
    assert [e["sequence"] for e in made.json()["events"]] == [1, 2]
    listed = client.get("/v1/events?after=0").json()
    assert [e["type"] for e in listed["events"]] == ["file.uploaded", "user.created"]
    assert listed["events"][0]["tenant_id"] == client.tenant_id
    one = client.get(f"/v1/events/{made.json()['events'][0]['id']}")
    assert '{"size": 9007199254740993}' in one.text  # exactly as it was said
    assert one.json()["subject"] == "f1" and one.json()["source"] == "api"


def test_an_event_id_is_taken_once_and_only_for_the_same_content(stack):
    client = stack.tenant(plan="unlimited", scopes=SCOPES)
    event = {"id": "order-7-paid", "type": "order.paid", "data": {"total": 5}}
    first, again = publish(client, event).json(), publish(client, event).json()
    assert again["events"][0] == {**first["events"][0], "duplicate": True}
    other = publish(client, {"type": "order.sent"}, {**event, "data": {"total": 6}})
    assert other.status_code == 409
    assert other.json()["errors"][0]["pointer"] == "/events/1/id"
    assert client.get("/v1/events?after=0").json()["last_sequence"] == 1  # the other of the two is not there either
    twice = publish(client, {"id": "a", "type": "a"}, {"id": "a", "type": "a"})
    assert twice.status_code == 400 and twice.json()["errors"][0]["pointer"] == "/events/1/id"


def test_an_idempotency_key_publishes_once(stack):
    client = stack.tenant(plan="unlimited", scopes=SCOPES)
    header = {"Idempotency-Key": "k-1"}
    first = publish(client, {"type": "a.b"}, **header)
    again = publish(client, {"type": "a.b"}, **header)
    assert first.json() == again.json()
    assert publish(client, {"type": "a.c"}, **header).status_code == 422
    assert client.get("/v1/events?after=0").json()["last_sequence"] == 1


def test_bad_events_are_refused_with_the_place_and_nothing_is_recorded(stack):
    client = stack.tenant(plan="unlimited", scopes=SCOPES)
    for event, pointer in [({"type": "File.Uploaded"}, "/events/1/type"), ({}, "/events/1/type"),
                           ({"type": "a", "id": "a.b"}, "/events/1/id"), ({"type": "a", "extra": 1}, "/events/1/extra"),
                           ({"type": "a", "timestamp": "2999-01-01T00:00:00Z"}, "/events/1/timestamp"),
                           ({"type": "a", "data": {"x": "y" * 262200}}, "/events/1/data")]:
        answer = publish(client, {"type": "good"}, event)
        assert answer.status_code == 400, answer.text
        assert pointer in [e["pointer"] for e in answer.json()["errors"]], answer.text
    assert client.get("/v1/events?after=0").json()["last_sequence"] == 0
    assert publish(client, *[{"type": "a"}] * 101).status_code == 400


def test_lists_filter_by_type_subject_and_time_and_page_both_ways(stack):
    client = stack.tenant(plan="unlimited", scopes=SCOPES)
    for i in range(30):
        publish(client, {"type": "file.uploaded", "subject": f"s{i % 3}"}, {"type": "file.version.created"},
                {"type": "user.created"})

    def walk(query):
        found, token = [], ""
        while True:
            page = client.get(f"/v1/events?page_size=7{query}{token}").json()
            found += page["events"] if "events" in page else []
            if "next_page_token" not in page or (token.startswith("&page_token=u") and not page.get("events")):
                return found
            token = f"&page_token={page['next_page_token']}"

    assert [e["sequence"] for e in walk("")] == list(range(90, 0, -1))
    assert [e["sequence"] for e in walk("&after=80")] == list(range(81, 91))
    assert len(walk("&type=file.*")) == 30 and len(walk("&type=file.**")) == 60 and len(walk("&type=*.created")) == 30
    assert len(walk("&subject=s1")) == 10
    middle = client.get("/v1/events?after=44&page_size=1").json()["events"][0]["recorded_at"]
    older, newer = walk(f"&until={middle}"), walk(f"&since={middle}")
    assert len(older) + len(newer) == 90 and min(map(when, newer)) >= when({"recorded_at": middle})
    assert client.get("/v1/events?type=file.*x*").status_code == 400


def test_publishers_side_by_side_leave_no_gap(stack):
    client = stack.tenant(plan="unlimited", scopes=SCOPES)

    def run(worker):
        answers = [publish(client, {"type": "a.b", "data": {"w": worker, "i": i}}) for i in range(40)]
        assert {a.status_code for a in answers} == {200}, [a.text for a in answers if a.status_code != 200]
        return [a.json()["events"][0]["sequence"] for a in answers]

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        mine = list(pool.map(run, range(8)))
    assert sorted(sum(mine, [])) == list(range(1, 321))
    assert all(m == sorted(m) for m in mine)


def test_a_tenant_sees_its_own_log_only(stack):
    one, two = stack.tenant(plan="unlimited", scopes=SCOPES), stack.tenant(plan="unlimited", scopes=SCOPES)
    made = publish(one, {"id": "mine", "type": "a.b"}).json()["events"][0]
    assert made["sequence"] == 1
    assert two.get("/v1/events/mine").status_code == 404
    assert two.get("/v1/events?after=0").json()["last_sequence"] == 0
    assert two.get(f"/v1/events?tenant_id={one.tenant_id}").status_code == 403
    assert two.post("/v1/events", {"events": [{"type": "a"}], "tenant_id": one.tenant_id}).status_code == 403
    assert publish(two, {"id": "mine", "type": "a.c"}).status_code == 200  # ids are the tenant's own
