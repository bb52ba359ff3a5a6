"""The event log over HTTP: publishing, reading, and what never happens to it."""
import concurrent.futures
import datetime
import json

from raw import Raw
from stack import until

SCOPES = ["events.*", "webhooks.*"]


def publish(client, *events, **headers):
    return client.post("/v1/events", {"events": list(events)}, headers=headers or None)


def tenant(stack, *more):
    """A tenant whose log holds one event: that its key was created."""
    client = stack.tenant(plan="unlimited", scopes=SCOPES + list(more))
    until(lambda: client.get("/v1/events").json().get("last_sequence") == 1, "the key's event is in the log")
    return client


def when(event):
    return datetime.datetime.fromisoformat(event["recorded_at"].replace("Z", "+00:00"))


def test_published_events_are_read_back_in_order(stack):
    client = tenant(stack)
    made = publish(client, {"type": "doc.uploaded", "subject": "f1", "data": {"size": 9007199254740993}},
                   {"type": "person.created"})
    assert made.status_code == 200, made.text
    assert [e["sequence"] for e in made.json()["events"]] == [2, 3]
    listed = client.get("/v1/events?after=1").json()
    assert [e["type"] for e in listed["events"]] == ["doc.uploaded", "person.created"]
    assert listed["events"][0]["tenant_id"] == client.tenant_id
    one = client.get(f"/v1/events/{made.json()['events'][0]['id']}")
    assert '{"size": 9007199254740993}' in one.text  # exactly as it was said
    assert one.json()["subject"] == "f1" and one.json()["source"] == "api"


def test_an_event_id_is_taken_once_and_only_for_the_same_content(stack):
    client = tenant(stack)
    event = {"id": "order-7-paid", "type": "order.paid", "data": {"total": 5}}
    first, again = publish(client, event).json(), publish(client, event).json()
    assert again["events"][0] == {**first["events"][0], "duplicate": True}
    other = publish(client, {"type": "order.sent"}, {**event, "data": {"total": 6}})
    assert other.status_code == 409
    assert other.json()["errors"][0]["pointer"] == "/events/1/id"
    assert client.get("/v1/events?after=0").json().get("last_sequence") == 2  # the other of the two is not there either
    twice = publish(client, {"id": "a", "type": "a"}, {"id": "a", "type": "a"})
    assert twice.status_code == 400 and twice.json()["errors"][0]["pointer"] == "/events/1/id"


def test_an_idempotency_key_publishes_once(stack):
    client = tenant(stack)
    header = {"Idempotency-Key": "k-1"}
    first = publish(client, {"type": "a.b"}, **header)
    again = publish(client, {"type": "a.b"}, **header)
    assert first.json() == again.json()
    assert publish(client, {"type": "a.c"}, **header).status_code == 422
    assert client.get("/v1/events?after=0").json().get("last_sequence") == 2


def test_bad_events_are_refused_with_the_place_and_nothing_is_recorded(stack):
    client = tenant(stack)
    for event, pointer in [({"type": "file/uploaded"}, "/events/1/type"), ({}, "/events/1/type"),
                           ({"type": "a", "id": "a.b"}, "/events/1/id"), ({"type": "a", "extra": 1}, "/events/1/extra"),
                           ({"type": "a", "timestamp": "2999-01-01T00:00:00Z"}, "/events/1/timestamp"),
                           ({"type": "a", "data": {"x": "y" * 262200}}, "/events/1/data")]:
        answer = publish(client, {"type": "good"}, event)
        assert answer.status_code == 400, answer.text
        assert pointer in [e["pointer"] for e in answer.json()["errors"]], answer.text
    assert client.get("/v1/events?after=0").json().get("last_sequence") == 1
    assert publish(client, *[{"type": "a"}] * 101).status_code == 400


def test_lists_filter_by_type_subject_and_time_and_page_both_ways(stack):
    client = tenant(stack)
    for i in range(30):
        publish(client, {"type": "doc.uploaded", "subject": f"s{i % 3}"}, {"type": "doc.version.created"},
                {"type": "person.created"})

    def walk(query):
        found, token = [], ""
        while True:
            page = client.get(f"/v1/events?page_size=7{query}{token}").json()
            found += page["events"] if "events" in page else []
            if "next_page_token" not in page or (token.startswith("&page_token=u") and not page.get("events")):
                return found
            token = f"&page_token={page['next_page_token']}"

    assert [e["sequence"] for e in walk("")] == list(range(91, 0, -1))
    assert [e["sequence"] for e in walk("&after=80")] == list(range(81, 92))
    assert len(walk("&type=doc.*")) == 30 and len(walk("&type=doc.**")) == 60 and len(walk("&type=*.created")) == 30
    assert len(walk("&subject=s1")) == 10
    middle = client.get("/v1/events?after=44&page_size=1").json()["events"][0]["recorded_at"]
    older, newer = walk(f"&until={middle}"), walk(f"&since={middle}")
    assert len(older) + len(newer) == 91 and min(map(when, newer)) >= when({"recorded_at": middle})
    assert client.get("/v1/events?type=doc.*x*").status_code == 400


def test_publishers_side_by_side_leave_no_gap(stack):
    client = tenant(stack)

    def run(worker):
        answers = [publish(client, {"type": "a.b", "data": {"w": worker, "i": i}}) for i in range(40)]
        assert {a.status_code for a in answers} == {200}, [a.text for a in answers if a.status_code != 200]
        return [a.json()["events"][0]["sequence"] for a in answers]

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        mine = list(pool.map(run, range(8)))
    assert sorted(sum(mine, [])) == list(range(2, 322))
    assert all(m == sorted(m) for m in mine)


def test_a_crowd_that_publishes_at_the_same_moment_is_answered_each_with_its_own(stack):
    client = tenant(stack)
    crowd = [Raw(stack.port, timeout_s=60) for _ in range(64)]
    seen = []
    for turn in range(5):  # calls that arrive together travel in one message and share its memory
        for i, raw in enumerate(crowd):
            body = json.dumps({"events": [{"id": f"e-{turn}-{i}-{n}", "type": "a.b", "data": {"i": i}} for n in range(20)]})
            raw.send(f"POST /v1/events HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer {client.key}\r\n"
                     f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n{body}")
        for i, raw in enumerate(crowd):
            answer = raw.answer()
            assert answer.status == 200, answer.body
            events = json.loads(answer.body)["events"]
            assert [e["id"] for e in events] == [f"e-{turn}-{i}-{n}" for n in range(20)]
            seen += [e["sequence"] for e in events]
    assert sorted(seen) == list(range(2, 2 + 64 * 5 * 20))
    for raw in crowd:
        raw.close()


def test_a_tenant_sees_its_own_log_only(stack):
    one, two = tenant(stack), tenant(stack)
    made = publish(one, {"id": "mine", "type": "a.b"}).json()["events"][0]
    assert made["sequence"] == 2
    assert two.get("/v1/events/mine").status_code == 404
    assert two.get("/v1/events?after=0").json().get("last_sequence") == 1
    assert two.get(f"/v1/events?tenant_id={one.tenant_id}").status_code == 403
    assert two.post("/v1/events", {"events": [{"type": "a"}], "tenant_id": one.tenant_id}).status_code == 403
    assert publish(two, {"id": "mine", "type": "a.c"}).status_code == 200  # ids are the tenant's own


def test_data_is_checked_against_the_type_it_is_said_to_be(stack):
    client = tenant(stack)
    good = {"id": "fil_1", "path": "/a.pdf", "size_bytes": 3}
    assert publish(client, {"type": "file.uploaded", "data": good}).status_code == 200
    bad = publish(client, {"type": "file.uploaded", "data": {"id": 7, "path": "/a.pdf"}}, {"type": "user.created"})
    assert bad.status_code == 400
    pointers = [e["pointer"] for e in bad.json()["errors"]]
    assert "/events/0/data/id" in pointers and any(p.startswith("/events/1/data") for p in pointers), pointers
    assert [e["schema"] for e in client.get("/v1/events?after=1").json()["events"]] == [1]


def test_tenants_register_types_of_their_own(stack):
    client, other = (tenant(stack) for _ in range(2))
    schema = {"type": "object", "required": ["total"], "properties": {"total": {"type": "integer", "minimum": 0}}}
    made = client.put("/v1/event-types/invoice.paid", {"schema": schema, "example": {"total": 1}})
    assert made.status_code == 200 and made.json()["version"] == 1, made.text
    assert publish(client, {"type": "invoice.paid", "data": {"total": -1}}).status_code == 400
    assert publish(client, {"type": "invoice.paid", "data": {"total": 5}}).status_code == 200
    assert publish(other, {"type": "invoice.paid", "data": {"total": -1}}).status_code == 200  # it is not theirs
    assert other.get("/v1/event-types/invoice.paid").status_code == 404
    assert client.put("/v1/event-types/invoice.paid", {"schema": schema}).json()["version"] == 2
    for body, pointer in [({"schema": {"type": "no"}}, "/schema/type"), ({"schema": {"wat": 1}}, "/schema/wat"),
                          ({"schema": schema, "example": {}}, "/example")]:
        refused = client.put("/v1/event-types/invoice.paid", body)
        assert refused.status_code == 400, refused.text
        assert any(e["pointer"].startswith(pointer) for e in refused.json()["errors"]), refused.text
    assert client.delete("/v1/event-types/invoice.paid").status_code == 204
    assert client.delete("/v1/event-types/invoice.paid").status_code == 404
    assert publish(client, {"type": "invoice.paid", "data": {"total": -1}}).status_code == 200


def test_the_catalogue_is_listed_with_the_tenants_own_types(stack):
    client = tenant(stack)
    client.put("/v1/event-types/aaa.first", {"description": "mine"})
    client.put("/v1/event-types/file.uploaded", {"description": "mine instead"})
    names, token = {}, ""
    while True:
        page = client.get(f"/v1/event-types?page_size=50{token}").json()
        names |= {t["name"]: t for t in page["types"]}
        if "next_page_token" not in page:
            break
        token = f"&page_token={page['next_page_token']}"
    assert len(names) >= 91 and list(names) == sorted(names)
    assert names["aaa.first"].get("builtin") is None and names["file.uploaded"]["description"] == "mine instead"
    assert names["user.created"]["builtin"] and "properties" in names["user.created"]["schema"]
    assert publish(client, {"type": "file.uploaded", "data": {}}).status_code == 200  # theirs has no schema


def test_what_happens_to_keys_and_subscriptions_is_in_the_log(stack):
    client = tenant(stack, "keys.*", "users.*")
    made = client.post("/v1/keys", {"name": "second", "scopes": ["events.read"]}).json()["key"]["id"]
    assert client.post(f"/v1/keys/{made}/revoke").status_code == 200
    assert client.post("/v1/users", {"email": "ada@example.com"}).status_code == 201
    stack.operator.put(f"/v1/tenants/{client.tenant_id}/subscription", {"plan": "premium"})
    wanted = ["security.apikey.created", "security.apikey.created", "security.apikey.revoked", "user.created",
              "subscription.changed"]

    def log():
        return client.get("/v1/events?after=0").json().get("events", [])

    until(lambda: len(log()) >= 5, "the outbox is empty")
    events = log()
    assert [e["type"] for e in events] == wanted
    assert events[2]["data"]["id"] == made and events[2]["source"] == "accountd"
    assert events[4]["data"]["plan"] == "premium"
    refused = client.post("/v1/keys", {"name": "third", "scopes": ["tenants.write"]})
    assert refused.status_code == 403 and len(log()) == 5  # nothing is told of what did not happen
