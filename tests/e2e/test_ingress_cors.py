"""Pages of other origins that call the API from a browser."""
import pytest
from stack import Serve

APP = "https://app.example"


@pytest.fixture(scope="module")
def two_origins():
    stack = Serve(f"--ingress.cors_origins={APP},http://localhost:3000")
    yield stack
    stack.stop()


def preflight(stack, path, origin, method="POST"):
    return stack.client().request("OPTIONS", path, headers={
        "Origin": origin, "Access-Control-Request-Method": method,
        "Access-Control-Request-Headers": "authorization,content-type"})


def words(header):
    return {word.strip().lower() for word in header.split(",")}


def test_a_preflight_is_answered_without_a_key(two_origins):
    answer = preflight(two_origins, "/v1/keys", APP)
    assert answer.status_code == 204 and answer.content == b""
    assert answer.headers["Access-Control-Allow-Origin"] == APP
    assert words(answer.headers["Access-Control-Allow-Methods"]) == {"get", "post"}
    assert {"authorization", "x-api-key", "content-type", "idempotency-key"} <= \
        words(answer.headers["Access-Control-Allow-Headers"])
    assert int(answer.headers["Access-Control-Max-Age"]) > 0
    assert words(answer.headers["Vary"]) == {"origin"}
    assert "Access-Control-Allow-Credentials" not in answer.headers


def test_every_answer_may_be_read_by_an_allowed_page(two_origins):
    for client, path, status in ((two_origins.operator, "/v1/keys", 200), (two_origins.client(), "/v1/keys", 401),
                                 (two_origins.operator, "/v1/nothing", 404), (two_origins.client(), "/healthz", 200)):
        answer = client.get(path, headers={"Origin": "http://localhost:3000"})
        assert answer.status_code == status
        assert answer.headers["Access-Control-Allow-Origin"] == "http://localhost:3000"
        assert {"ratelimit", "retry-after", "x-request-id"} <= words(answer.headers["Access-Control-Expose-Headers"])


@pytest.mark.parametrize("origin", ["https://evil.example", "https://app.example.evil", "http://app.example",
                                    "https://app.example:444", "null"])
def test_other_origins_are_told_nothing(two_origins, origin):
    for answer in (preflight(two_origins, "/v1/keys", origin),
                   two_origins.operator.get("/v1/keys", headers={"Origin": origin})):
        assert not any(name.lower().startswith("access-control") for name in answer.headers)
        assert answer.headers["Vary"] == "Origin"


def test_a_preflight_for_nothing_is_not_found(two_origins):
    assert preflight(two_origins, "/v1/nothing", APP).status_code == 404


def test_all_origins_can_be_allowed(own):
    stack = own(Serve, "--ingress.cors_origins=*")
    assert preflight(stack, "/v1/keys", APP).headers["Access-Control-Allow-Origin"] == "*"
    answer = stack.operator.get("/v1/keys", headers={"Origin": "null"})
    assert answer.headers["Access-Control-Allow-Origin"] == "*" and "Vary" not in answer.headers


def test_no_origin_is_allowed_unless_said(serve):
    answer = preflight(serve, "/v1/keys", APP)
    assert answer.status_code == 204 and answer.headers["Allow"] == "GET, POST"
    assert not any(name.lower().startswith(("access-control", "vary")) for name in answer.headers)
