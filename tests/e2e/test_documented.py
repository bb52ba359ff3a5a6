"""What Corbel answers is what its OpenAPI document says: each operation is called with the document's own examples."""
import copy
import uuid

import jsonschema
import pytest
import requests
from peer import Peer, answer
from stack import until

VERBS = ("get", "post", "put", "patch", "delete")


@pytest.fixture(scope="module")
def document(stack):
    return requests.get(stack.url + "/openapi.json", timeout=20).json()


@pytest.fixture(scope="module")
def sink():
    """Takes webhooks, so that none leaves this machine."""
    peer = Peer(answer(200, ""))
    yield peer.url + "/hook"
    peer.stop()


@pytest.fixture(scope="module")
def things(stack, sink):
    """One of each kind, for the parameters of paths."""
    operator = stack.operator

    def made(path, body, status=201):
        reply = operator.post(path, body)
        assert reply.status_code == status, reply.text
        return reply.json()
    tenant = made("/v1/tenants", {"name": "Contract"})["id"]
    plan = made("/v1/plans", {"name": "contract", "limits": [{"resource": "charts", "limit": 5, "window_ms": 1000}]})["name"]
    made("/v1/limits", {"name": "charts", "strategy": "ADAPTIVE", "limit": 100, "window_ms": 60000,
                        "adaptive": {"floor": 1, "ceiling": 200}})
    webhook = made("/v1/webhooks", {"url": sink})["endpoint"]["id"]
    queue = made("/v1/webhooks", {"sink": "QUEUE"})["endpoint"]["id"]
    event = made("/v1/events", {"events": [{"type": "a.b", "data": {}}]}, 200)["events"][0]["id"]
    delivery = until(lambda: operator.get("/v1/deliveries").json().get("deliveries"), "the event is delivered")[0]["id"]
    operator.put("/v1/event-types/contract.made", {"description": "of this test"})
    asked = made("/v1/webhooks", {"url": sink, "handshake": True})["endpoint"]["id"]
    replay = made(f"/v1/webhooks/{webhook}/replay", {"after": 0}, 202)["id"]
    until(lambda: operator.get(f"/v1/replays/{replay}").json().get("state") == "REPLAYED", "the replay's end")
    # An origin that is refused as private, so nothing is asked of anybody.
    cache = made("/v1/caches", {"namespace": {"name": "contract", "origin": {"url": "http://127.0.0.1/{key}"}}})["name"]
    operator.put(f"/v1/cache/{cache}/made", None, data=b"hello")
    plugin = made("/v1/plugins", {"name": "contract", "code": "result = 1", "install": True})["id"]
    operator.patch(f"/v1/plugins/{plugin}", {"code": "result = 2", "install": True})
    run = made(f"/v1/plugins/{plugin}/queue", {}, 202)["id"]
    return {"plugins": plugin, "version": "1", "runs": run, "replays": replay, "handshake": asked, "event-types": "contract.made", "namespace": cache, "key": "made",
            "webhooks": webhook, "queues": queue, "events": event, "deliveries": delivery, "tenant_id": tenant, "tenants": tenant, "plans": plan,
            "users": made("/v1/users", {"email": "contract@example.com"})["id"],
            "limits": made("/v1/limits", {"name": "other", "strategy": "GCRA", "limit": 1, "window_ms": 1000})["id"],
            "keys": made("/v1/keys", {"name": "contract"})["key"]["id"],
            "revoke": made("/v1/keys", {"name": "to revoke"})["key"]["id"],
            "rotate": made("/v1/keys", {"name": "to rotate"})["key"]["id"]}


def resolved(document, node):
    while "$ref" in node:
        target = document
        for part in node["$ref"].removeprefix("#/").split("/"):
            target = target[part]
        node = target
    return node


def conforms(document, operation, reply):
    """The reply's status, headers and body are those of the document."""
    assert str(reply.status_code) in operation["responses"], f"{reply.status_code}: {reply.text}"
    said = resolved(document, operation["responses"][str(reply.status_code)])
    for name in reply.headers:
        if name.lower().startswith(("ratelimit", "retry", "x-request", "traceparent", "www-")):
            assert name.lower() in [h.lower() for h in said["headers"]], name
    if "content" not in said:
        assert reply.content == b""
        return
    kind = reply.headers["Content-Type"].split(";")[0]
    if "*/*" in said["content"]:  # bytes of any kind
        return
    schema = {**said["content"][kind]["schema"], "components": document["components"]}
    jsonschema.Draft202012Validator(schema, format_checker=jsonschema.FormatChecker()).validate(reply.json())


def url_of(path, things):
    """The path with what it names: the last word that is no parameter tells which thing an {id} is."""
    words = path.split("/")
    for i, word in enumerate(words):
        if word.startswith("{"):
            action = words[i + 1] if i + 1 < len(words) else None
            words[i] = things.get(action) or things.get(word.strip("{}")) or things[words[i - 1]]
    return "/".join(words)


def operations(document):
    found = [(verb, path, item[verb]) for path, item in document["paths"].items() for verb in VERBS if verb in item]
    services = [one for one in found if one[2]["tags"] != ["Front"]]
    return sorted(services, key=lambda one: (one[0] == "delete", one[1].endswith("disable")))  # what ends things comes last


def is_raw(operation):
    """Its body is taken as it is; what else it takes is in the query."""
    return "*/*" in operation.get("requestBody", {}).get("content", {})


def send(client, verb, url, operation, body):
    if is_raw(operation):
        return client.request(verb.upper(), url, data=body)
    return client.request(verb.upper(), url, body)


def body_of(operation, sink):
    body = copy.deepcopy(operation.get("requestBody", {}).get("content", {}).get("application/json", {}).get("example"))
    if is_raw(operation):
        return operation["requestBody"]["content"]["*/*"]["example"]
    if operation["operationId"] in ("plans_create", "limits_create", "plugins_create"):
        body["name"] += uuid.uuid4().hex[:8]
    if operation["operationId"] == "cache_namespaces_create":
        body["namespace"]["name"] += uuid.uuid4().hex[:8]
    if operation["operationId"] == "endpoints_create":
        body["url"] = sink
    return body


def test_every_operation_answers_as_documented_to_its_own_example(stack, document, things, sink):
    operator = stack.operator
    # Verifying is of a key that exists.
    secret = operator.post("/v1/keys", {"name": "verified"}).json()["secret"]
    seen = 0
    for verb, path, operation in operations(document):
        body = body_of(operation, sink)
        if operation["operationId"] == "keys_verify":
            body["key"] = secret
        reply = send(operator, verb, url_of(path, things), operation, body)
        assert reply.status_code < 300, f"{verb} {path}: {reply.status_code} {reply.text}"
        conforms(document, operation, reply)
        seen += 1
    assert seen >= 35


def test_every_operation_refuses_as_documented(stack, document, things, sink):
    nobody = stack.client("cb_live_wrong")
    for verb, path, operation in operations(document):
        url = url_of(path, things)
        conforms(document, operation, send(nobody, verb, url, operation, body_of(operation, sink)))
        wrong = {"surplus": 1} if "requestBody" in operation and not is_raw(operation) else None
        reply = stack.operator.request(verb.upper(), url if wrong else url + "?surplus=1", wrong)
        conforms(document, operation, reply)
        if wrong or is_raw(operation) or verb in ("get", "delete"):
            assert reply.status_code == 400, f"{verb} {path}: {reply.status_code}"
            assert "/surplus" in [error["pointer"] for error in reply.json()["errors"]]


def test_the_pages_of_the_front_answer_as_documented(stack, document):
    for path, item in document["paths"].items():
        operation = item.get("get", {})
        if operation.get("tags") != ["Front"]:
            continue
        reply = requests.get(stack.url + path, timeout=20)
        assert str(reply.status_code) in operation["responses"], path
        said = resolved(document, operation["responses"][str(reply.status_code)])
        assert reply.headers["Content-Type"].split(";")[0] in said["content"], path


def test_the_page_for_people_explains_members_and_values(stack):
    page = requests.get(stack.url + "/docs", timeout=20).text
    for words in ("POST", "/v1/limits", "Defines a limit", "Generic cell rate algorithm", "Units admitted in a window",
                  "What is counted: a user", "1 to 31622400000 ms", "corbel limits create"):
        assert words in page, words
    assert "STRATEGY_UNSET" not in page and "UsageReports/Report" not in page
