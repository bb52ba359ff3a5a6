"""CloudEvents over HTTP: in by all three modes, out as they were said."""
import pytest
from sink import Sink
from stack import until

SCOPES = ["events.*", "webhooks.*"]
STRUCTURED, BATCH = "application/cloudevents+json", "application/cloudevents-batch+json"


def tenant(stack):
    """A tenant whose log holds one event, of its key."""
    client = stack.tenant(plan="unlimited", scopes=SCOPES)
    until(lambda: client.get("/v1/events").json().get("last_sequence") == 1, "the key's event is in the log")
    return client


def event(**more):
    return {"specversion": "1.0", "id": "A-1", "source": "https://example.com/orders", "type": "com.Example.order-paid", **more}


def send(client, body, kind=STRUCTURED):
    return client.post("/v1/events", body, headers={"Content-Type": kind})


def read(client, made):
    """The first event of a publication, as a CloudEvent."""
    answer = client.get(f"/v1/events/{made.json()['events'][0]['id']}", headers={"Accept": STRUCTURED})
    assert answer.status_code == 200 and answer.headers["Content-Type"] == STRUCTURED, answer.text
    return answer.json()


def test_a_cloudevent_is_given_back_as_it_came(stack):
    client = tenant(stack)
    said = event(subject="o 7", time="2026-01-31T09:00:00Z", dataschema="https://example.com/s", partitionkey="eu",
                 attempts=3, urgent=True, datacontenttype="application/json", data={"total": 9007199254740993})
    made = send(client, said)
    assert made.status_code == 200, made.text
    given = read(client, made)
    assert given == {**said, "corbelid": made.json()["events"][0]["id"], "corbelsequence": "2"}
    plain = client.get(f"/v1/events/{given['corbelid']}").json()
    assert plain["type"] == said["type"] and plain["subject"] == "o 7" and plain["data"] == said["data"]
    assert plain["cloud_event"]["source"] == said["source"]


def test_source_and_id_name_the_event(stack):
    client = tenant(stack)
    first, again = send(client, event()).json()["events"][0], send(client, event()).json()["events"][0]
    assert again == {**first, "duplicate": True}
    assert send(client, event(data=1)).status_code == 409
    assert send(client, event(source="https://example.com/other", data=1)).json()["events"][0]["sequence"] == 3
    twice = send(client, [event(id="x"), event(id="x")], BATCH)
    assert twice.status_code == 400 and twice.json()["errors"][0]["pointer"] == "/1/id"


def test_a_batch_is_recorded_as_one(stack):
    client = tenant(stack)
    made = send(client, [event(id=str(i)) for i in range(3)], BATCH)
    assert [e["sequence"] for e in made.json()["events"]] == [2, 3, 4]
    bad = send(client, [event(id="a"), event(id="b", type="no/type"), event(id="c", time="soon")], BATCH)
    assert {e["pointer"] for e in bad.json()["errors"]} == {"/1/type", "/2/time"}, bad.text
    assert client.get("/v1/events").json().get("last_sequence") == 4


@pytest.mark.parametrize("kind, body, member, value", [
    ("application/json", b'{"a": 1}', "data", {"a": 1}), ("text/plain; charset=utf-8", "größer".encode(), "data", "größer"),
    ("application/octet-stream", b"\x00\x01\x02", "data_base64", "AAEC"), ("text/plain", b"\xff", "data_base64", "/w==")])
def test_binary_mode_takes_the_body_by_its_type(stack, kind, body, member, value):
    client = tenant(stack)
    headers = {"Content-Type": kind, "ce-id": "7", "ce-source": "/s", "ce-specversion": "1.0", "ce-type": "a.b",
               "ce-subject": "Euro%20%E2%82%AC", "ce-traceparent": "x"}
    made = client.post("/v1/events", data=body, headers=headers)
    assert made.status_code == 200, made.text
    given = read(client, made)
    assert given[member] == value and given["datacontenttype"] == kind
    assert given["subject"] == "Euro €" and given["traceparent"] == "x"


def test_what_is_no_cloudevent_is_refused_with_the_place(stack):
    client = tenant(stack)
    for said, pointer in [(event(specversion="0.3"), "/specversion"), ({"specversion": "1.0"}, "/id"),
                          (event(source="a b"), "/source"), (event(Ext="x"), "/extensions/0/name"),
                          (event(data=1, data_base64="AA=="), "/data"), (event(time="2999-01-01T00:00:00Z"), "/time"),
                          (event(type="file.uploaded", data={"id": 7}), "/data/id")]:
        answer = send(client, said)
        assert answer.status_code == 400, answer.text
        assert pointer in [e["pointer"] for e in answer.json()["errors"]], answer.text
    missing = client.post("/v1/events", data=b"", headers={"ce-specversion": "1.0", "ce-type": "a"})
    assert {e["pointer"] for e in missing.json()["errors"]} == {"/id", "/source"}
    other = client.post("/v1/events", data=b"x", headers={"Content-Type": "application/cloudevents+avro"})
    assert other.status_code == 415
    assert client.get("/v1/events").json().get("last_sequence") == 1


def test_the_log_is_read_as_batches_that_link_to_the_next(stack):
    client = tenant(stack)
    client.post("/v1/events", {"events": [{"type": "a.b", "subject": f"s{i}"} for i in range(5)]})
    found, path = [], "/v1/events?type=a.*&page_size=2"
    while path:
        answer = client.get(path, headers={"Accept": f"application/json;q=0.5, {BATCH}"})
        assert answer.headers["Content-Type"] == BATCH
        found += answer.json()
        path = answer.links.get("next", {}).get("url")
    assert [e["corbelsequence"] for e in found] == ["6", "5", "4", "3", "2"]
    assert {e["source"] for e in found} == {f"/tenants/{client.tenant_id}/api"} and found[0]["data"] == {}
    plain = client.get("/v1/events", headers={"Accept": f"{BATCH};q=0.5, application/json"})
    assert plain.headers["Content-Type"] == "application/json" and "Link" not in plain.headers


def test_conditions_and_plain_webhooks_see_the_data_of_cloudevents(stack):
    client = tenant(stack)
    with Sink() as sink:
        made = client.post("/v1/webhooks", {"url": sink.url + "/hook", "filter": {
            "types": ["com.Example.*"], "conditions": [{"pointer": "/total", "operator": "GREATER", "value": 4}]}})
        assert made.status_code == 201, made.text
        send(client, [event(id="1", data={"total": 4}), event(id="2", data={"total": 5})], BATCH)
        hook = sink.wait(lambda h: len(h) == 1, "the greater one")[0]
        assert hook.json["type"] == "com.Example.order-paid" and hook.json["data"] == {"total": 5}


def endpoint(client, sink, **options):
    made = client.post("/v1/webhooks", {"url": sink.url + "/hook", **options})
    assert made.status_code == 201, made.text
    return made.json()["endpoint"], made.json()["secret"]


def test_webhooks_carry_cloudevents_in_either_mode(stack):
    client = tenant(stack)
    with Sink() as structured, Sink() as binary:
        _, secret = endpoint(client, structured, format="CLOUDEVENTS")
        endpoint(client, binary, format="CLOUDEVENTS_BINARY", signing="HMAC_AND_ED25519")
        said = event(subject="größer", ext=7, time="2026-01-31T09:00:00Z", datacontenttype="text/plain", data="some text")
        send(client, said)
        hook = structured.wait(lambda h: len(h) == 1, "the event", timeout_s=60)[0]
        assert hook.headers["Content-Type"] == STRUCTURED and hook.is_signed_with(secret)
        sequence = str(client.get(f"/v1/events/{hook.id}").json()["sequence"])  # those of the endpoints may come before
        assert hook.json == {**said, "corbelid": hook.id, "corbelsequence": sequence}
        hook = binary.wait(lambda h: len(h) == 1, "the event", timeout_s=60)[0]
        assert hook.body == b"some text" and hook.headers["Content-Type"] == "text/plain"
        given = {k[3:].lower(): v for k, v in hook.headers.items() if k.lower().startswith("ce-")}
        assert given == {"specversion": "1.0", "id": "A-1", "source": said["source"], "type": said["type"], "ext": "7",
                         "subject": "gr%C3%B6%C3%9Fer", "time": said["time"], "corbelid": hook.id, "corbelsequence": sequence}
        client.post("/v1/events", {"events": [{"type": "a.b", "data": {"x": 1}}]})
        hook = binary.wait(lambda h: len(h) == 2, "a plain event", timeout_s=60)[1]
        assert hook.json == {"x": 1} and hook.headers["ce-source"] == f"/tenants/{client.tenant_id}/api"
        send(client, event(id="none"))
        hook = binary.wait(lambda h: len(h) == 3, "an event without data", timeout_s=60)[2]
        assert hook.body == b"" and "Content-Type" not in hook.headers


def test_an_endpoint_may_change_its_format_and_not_invent_versions(stack):
    client = tenant(stack)
    with Sink() as sink:
        made, _ = endpoint(client, sink)
        assert made["payload_version"] == 1
        client.post("/v1/events", {"events": [{"type": "a.b"}]})
        sink.wait(lambda h: len(h) == 1, "a plain one", timeout_s=60)
        assert client.patch(f"/v1/webhooks/{made['id']}", {"format": "CLOUDEVENTS"}).json()["format"] == "CLOUDEVENTS"
        client.post("/v1/events", {"events": [{"type": "a.b"}]})
        hook = sink.wait(lambda h: len(h) == 2, "a CloudEvent", timeout_s=60)[1]
        assert hook.headers["Content-Type"] == STRUCTURED
        assert client.patch(f"/v1/webhooks/{made['id']}", {"format": None}).status_code == 200
        assert "format" not in client.get(f"/v1/webhooks/{made['id']}").json()
        for field, value in [("payload_version", 2), ("format", "XML")]:
            refused = client.post("/v1/webhooks", {"url": sink.url, field: value})
            assert refused.status_code == 400 and refused.json()["errors"][0]["pointer"] == f"/{field}", refused.text
        refused = client.post("/v1/webhooks", {"url": sink.url, "format": "CLOUDEVENTS_BINARY", "headers": {"ce-id": "x"}})
        assert refused.status_code == 400, refused.text
