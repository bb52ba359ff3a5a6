"""Checks of busy keys, which an ingress answers from leased units and remembered refusals."""
import concurrent.futures
import json

import pytest
from raw import Raw
from stack import Processes, until

HOUR_MS = 3600000


@pytest.fixture(scope="module", params=["memory", "redis"])
def pair(request):
    """Two ingresses before one ratelimitd, and a third that holds nothing."""
    stack = Processes(replicas={"ingress": 3}, redis=request.param == "redis",
                      own={"ingress2": lambda _: ["--ingress.hold_checks=false"]})
    yield stack
    failed = request.session.testsfailed
    stack.stop()
    if failed:
        print(stack.logs())


@pytest.fixture
def tenant(pair):
    return pair.tenant(plan="unlimited", scopes=["*"])


def define(client, name, units, strategy="FIXED_WINDOW", window_ms=24 * HOUR_MS):
    made = client.post("/v1/limits", {"name": name, "strategy": strategy, "limit": units, "window_ms": window_ms})
    assert made.status_code == 201, made.text
    return made.json()["id"]


def hammer(pair, ingress, client, count, limit, key="busy", depth=50):
    """Pipelined checks of one key; the decisions in order."""
    body = json.dumps({"checks": [{"limit": limit, "key": key}]})
    request = (f"POST /v1/ratelimits/check HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer {client.key}\r\n"
               f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n{body}")
    answers = []
    with Raw(pair.ports[ingress], timeout_s=60) as raw:
        for _ in range(count // depth):
            raw.send(request * depth)
            for _ in range(depth):
                answer = raw.answer()
                assert answer.status == 200, answer.body
                answers.append((json.loads(answer.body), answer.headers))
    return answers


def held(pair, ingress=0):
    return pair.metric(pair.by_name["ingress", ingress], "corbel_ingress_checks_held_total") or 0


def check(client):
    return client.post("/v1/ratelimits/check", {"checks": [{"limit": "busy", "key": "busy"}]})


def test_two_ingresses_admit_together_what_the_limit_holds_and_hardly_less(pair, tenant):
    define(tenant, "busy", 3000)
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        runs = pool.map(lambda n: hammer(pair, n % 2, tenant, 1500, "busy"), range(4))
        admitted = sum(answer["allowed"] for run in runs for answer, _ in run)
    assert 3000 * 0.96 <= admitted <= 3000


def test_an_answer_from_what_is_held_says_what_ratelimitd_says(pair, tenant):
    define(tenant, "busy", 100000)
    cold = check(tenant)
    answers = hammer(pair, 0, tenant, 2000, "busy")
    body, headers = answers[-1]
    first = cold.json()
    assert body.keys() == first.keys() and body["limits"][0].keys() == first["limits"][0].keys()
    same = {"limit", "key", "allowed", "quota", "window_ms"}
    assert {k: v for k, v in body["limits"][0].items() if k in same} == \
           {k: v for k, v in first["limits"][0].items() if k in same}
    left = [answer["limits"][0]["remaining"] for answer, _ in answers]
    assert abs(left[-1] - (100000 - 2001)) <= 1000 and left[0] > left[-1]
    assert 0 < body["limits"][0]["reset_ms"] <= first["limits"][0]["reset_ms"]
    assert headers["ratelimit-policy"] == cold.headers["RateLimit-Policy"]
    assert f'"busy";r={left[-1]};t=' in headers["ratelimit"]


@pytest.mark.parametrize("strategy", ["FIXED_WINDOW", "TOKEN_BUCKET", "SLIDING_LOG"])
def test_a_refusal_is_remembered_and_a_reset_is_seen_at_once(pair, tenant, strategy):
    define(tenant, "busy", 3, strategy)
    answers = hammer(pair, 0, tenant, 1000, "busy")
    assert sum(answer["allowed"] for answer, _ in answers) == 3
    body, headers = answers[-1]
    cold = check(pair.client(tenant.key)).json()["limits"][0]
    assert body["limits"][0].keys() == cold.keys()
    assert abs(body["limits"][0]["retry_after_ms"] - cold["retry_after_ms"]) < 60000
    assert int(headers["retry-after"]) > 1000
    assert tenant.post("/v1/ratelimits/reset", {"limit": "busy", "key": "busy"}).status_code == 200
    assert check(tenant).json()["allowed"]


def test_a_changed_limit_is_in_force_everywhere_soon(pair, tenant):
    number = define(tenant, "busy", 10)
    for ingress in (0, 1):
        hammer(pair, ingress, tenant, 500, "busy")
    other = pair.client(tenant.key)
    other.url = pair.url_of(1)
    assert not check(tenant).json()["allowed"] and not check(other).json()["allowed"]
    assert tenant.patch(f"/v1/limits/{number}", {"limit": 1000}).status_code == 200
    until(lambda: check(tenant).json().get("allowed"), "the ingress that changed it knows")
    until(lambda: check(other).json().get("allowed"), "the other one does, too")


def test_what_was_decided_here_is_in_the_statistics(pair, tenant):
    define(tenant, "busy", 1500)
    before = held(pair)
    answers = hammer(pair, 0, tenant, 2000, "busy")
    assert held(pair) - before > 1000  # the most were answered here
    refused = sum(not answer["allowed"] for answer, _ in answers)

    def counted():
        told = tenant.get("/v1/ratelimits/statistics?limit=busy").json().get("limits", [])
        return told and (told[0]["total"], told[0]["throttled"]) == (2000, refused)
    until(counted, "all decisions are counted")


def test_an_ingress_that_is_told_to_holds_nothing(pair, tenant):
    define(tenant, "busy", 1500)
    answers = hammer(pair, 2, tenant, 2000, "busy")
    assert sum(answer["allowed"] for answer, _ in answers) == 1500
    assert held(pair, 2) == 0
