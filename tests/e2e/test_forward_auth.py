"""Forward-auth: asked directly, and by real gateways with the files of deploy/gateways."""
import http.server
import json
import os
import pathlib
import shutil
import signal
import threading

import pytest
import requests
from raw import Raw, assert_problem
from stack import Client, Process, Processes, Serve, free_port, until

GATEWAYS = pathlib.Path(__file__).parents[2] / "deploy/gateways"
RULES = "GET /charts/* = charts, POST /charts = charts, * /nowhere/* = nowhere, GET /free/* = plenty"


def rules(*options):
    return [f"--ingress.forward_limits={RULES}", *options]


def limited_tenant(stack, charts=2):
    """A tenant with a small limit on charts and a wide one elsewhere."""
    tenant = stack.tenant(plan="unlimited", scopes=["*"])
    for name, units in (("charts", charts), ("plenty", 1000)):
        made = tenant.post("/v1/limits", {"name": name, "strategy": "FIXED_WINDOW", "limit": units,
                                          "window_ms": 86400000})
        assert made.status_code == 201, made.text
    until(lambda: tenant.post("/v1/ratelimits/peek", {"checks": [{"limit": "plenty", "key": "x"}]}).status_code == 200,
          "the limits are known", 5)
    key = tenant.post("/v1/keys", {"name": "visitor"}).json()
    return tenant, key


# ---- asked directly ----


@pytest.fixture(scope="module")
def original():
    stack = Serve(*rules())
    yield stack
    stack.stop()


@pytest.fixture(scope="module")
def forwarded():
    stack = Serve(*rules("--ingress.forward_headers=forwarded"))
    yield stack
    stack.stop()


@pytest.fixture(scope="module")
def behind_path():
    stack = Serve(*rules("--ingress.forward_headers=path"))
    yield stack
    stack.stop()


def ask(stack, key, method="GET", uri="/charts/1", prefix="X-Original", uri_name="URI", **more):
    return stack.client(key).get("/v1/auth/forward", headers={
        f"{prefix}-Method": method, f"{prefix}-{uri_name}": uri, **more})


def test_a_good_key_is_identified(original):
    tenant, key = limited_tenant(original)
    answer = ask(original, key["secret"], uri="/elsewhere")
    assert answer.status_code == 200 and answer.content == b""
    assert answer.headers["X-Corbel-Tenant"] == tenant.tenant_id
    assert answer.headers["X-Corbel-Key-Id"] == key["key"]["id"]
    assert answer.headers["X-Corbel-Plan"] == "unlimited"
    assert answer.headers["X-Corbel-Scopes"] == "ratelimits.check"  # what a key has that was given none
    assert ask(original, tenant.key, uri="/elsewhere").headers["X-Corbel-Scopes"] == "*"


def test_a_gateway_without_a_good_key_is_told_401(original):
    for key in (None, "cb_live_nonsense"):
        answer = ask(original, key)
        assert answer.status_code == 401 and answer.headers["WWW-Authenticate"].startswith("Bearer")


def test_the_first_rule_that_fits_chooses_the_limit(original):
    _, key = limited_tenant(original)
    answers = [ask(original, key["secret"]) for _ in range(3)]
    assert [a.status_code for a in answers] == [200, 200, 429]
    assert answers[0].headers["RateLimit-Policy"].startswith('"charts";q=2')
    assert int(answers[2].headers["Retry-After"]) > 0
    assert answers[2].json()["violated-policies"] == ["charts"]
    assert ask(original, key["secret"], uri="/charts").status_code == 200  # GET /charts fits no rule
    assert ask(original, key["secret"], "POST", "/charts").status_code == 429
    assert ask(original, key["secret"], uri="/nowhere/1").status_code == 200  # a limit that is not defined


@pytest.mark.parametrize("uri", ["/charts/1?x=/free/1", "//charts//1", "/%63harts/1", "/free/../charts/1",
                                 "/free/%2e%2E/charts/1", "/./charts/%31#/free", "http://api/charts/1"])
def test_a_path_written_in_another_way_takes_from_the_same_limit(original, uri):
    _, key = limited_tenant(original, charts=1)
    assert ask(original, key["secret"]).status_code == 200
    assert ask(original, key["secret"], uri=uri).status_code == 429


def test_a_client_cannot_speak_for_the_gateway(original, forwarded, behind_path):
    spoofed = {"X-Forwarded-Uri": "/free/1", "X-Forwarded-Method": "GET", "X-Original-URL": "/free/1"}
    _, key = limited_tenant(original)
    assert [ask(original, key["secret"], **spoofed).status_code for _ in range(3)] == [200, 200, 429]
    spoofed = {"X-Original-URI": "/free/1", "X-Original-Method": "GET", "X-Original-URL": "/free/1"}
    _, key = limited_tenant(forwarded)
    assert [ask(forwarded, key["secret"], prefix="X-Forwarded", uri_name="Uri", **spoofed).status_code
            for _ in range(3)] == [200, 200, 429]
    _, key = limited_tenant(behind_path)
    visitor = behind_path.client(key["secret"])
    assert [visitor.get("/v1/auth/forward/charts/1", headers={"X-Forwarded-Uri": "/free/1", **spoofed}).status_code
            for _ in range(3)] == [200, 200, 429]


def test_a_gateway_that_does_not_tell_the_request_admits_nobody(original):
    _, key = limited_tenant(original)
    answer = original.client(key["secret"]).get("/v1/auth/forward", headers={"X-Forwarded-Uri": "/free/1"})
    assert answer.status_code == 400 and "X-Original-Method" in answer.json()["detail"]
    with Raw(original.port) as raw:
        raw.send(f"GET /v1/auth/forward HTTP/1.1\r\nHost: corbel\r\nX-API-Key: {key['secret']}\r\n"
                 "X-Original-Method: GET\r\nX-Original-URI: /free/1\r\nX-Original-URI: /charts/1\r\n\r\n")
        assert "once" in assert_problem(raw.answer(), 400, "invalid-argument")["detail"]


@pytest.mark.parametrize("policy, known, unknown", [("deny", 503, 503), ("known", 200, 503), ("allow", 200, 200)])
def test_who_passes_while_services_are_away_is_the_operators_choice(own, policy, known, unknown):
    stack = own(Processes, *rules(f"--ingress.forward_on_failure={policy}"))
    _, key = limited_tenant(stack, charts=1000)
    stranger = stack.operator.post("/v1/keys", {"name": "not seen yet"}).json()["secret"]
    assert ask(stack, key["secret"]).status_code == 200
    stack.by_name["ratelimitd", 0].popen.kill()
    until(lambda: ask(stack, key["secret"]).status_code == known, "ratelimitd is missed", 5)
    stack.by_name["accountd", 0].popen.kill()
    until(lambda: ask(stack, stranger, uri="/elsewhere").status_code == unknown, "accountd is missed", 5)
    assert ask(stack, key["secret"], uri="/elsewhere").status_code == 200  # known, and no limit to ask for
    assert ask(stack, "cb_live_nonsense").status_code == 401
    if unknown == 503:
        assert int(ask(stack, stranger, uri="/elsewhere").headers["Retry-After"]) >= 1


# ---- behind real gateways ----


class Api:
    """The API behind a gateway: answers with what it was asked."""

    def __init__(self):
        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def answer(self):
                size = int(self.headers.get("Content-Length") or 0)
                body = json.dumps({"path": self.path, "body": self.rfile.read(size).decode(),
                                   "headers": {k.lower(): v for k, v in self.headers.items()}}).encode()
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            do_GET = do_POST = answer

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = self.server.server_port
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def stop(self):
        self.server.shutdown()
        self.server.server_close()


class Gateway:
    """A gateway with a file of deploy/gateways, its addresses replaced; `url` is where clients go."""

    KINDS = {
        "nginx": ("original", ["nginx.conf"], ["nginx", "-p", "{dir}/", "-c", "nginx.conf", "-g", "daemon off;"]),
        "caddy": ("forwarded", ["Caddyfile"], ["caddy", "run", "--config", "{dir}/Caddyfile", "--adapter", "caddyfile"]),
        "haproxy": ("original", ["haproxy.cfg", "haproxy.lua"], ["haproxy", "-C", "{dir}", "-f", "haproxy.cfg"]),
        "envoy": ("path", ["envoy.yaml"], ["envoy", "-c", "{dir}/envoy.yaml", "--use-dynamic-base-id", "--concurrency", "1"]),
        "traefik": ("forwarded", ["traefik.yml"], ["traefik", "--entrypoints.api.address=127.0.0.1:{port}",
                                                   "--providers.file.filename={dir}/traefik.yml",
                                                   "--global.checknewversion=false", "--global.sendanonymoususage=false"]),
    }
    REFUSES = {"traefik": 500}  # what it answers while Corbel is away, where that is not 502 or 503
    PATH = os.environ.get("PATH", "") + ":/usr/sbin:/usr/bin:/usr/local/bin"

    def __init__(self, kind, stack, api):
        _, files, argv = self.KINDS[kind]
        self.kind = kind
        self.directory = stack.directory / kind
        self.directory.mkdir()
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        ports = {"127.0.0.1:8000": self.port, "127.0.0.1:8080": stack.port, "127.0.0.1:9000": api.port}
        for name in files:
            text = (GATEWAYS / name).read_text()
            for address, port in ports.items():
                text = text.replace(address, f"127.0.0.1:{port}")
                text = text.replace(f"port_value: {address.split(':')[1]}}}", f"port_value: {port}}}")
            (self.directory / name).write_text(text)
        self.process = Process(kind, [a.format(dir=self.directory, port=self.port) for a in argv], stack.directory,
                               {"PATH": self.PATH, "HOME": str(self.directory), "XDG_DATA_HOME": str(self.directory)})
        stack.processes.append(self.process)
        until(self.is_up, f"{kind} answers")

    def is_up(self):
        assert self.process.is_alive(), self.process.output()
        try:
            return requests.get(self.url + "/", timeout=5).status_code == 401
        except requests.RequestException:
            return False

    def client(self, key):
        return Client(self.url, key)


@pytest.fixture(scope="module", params=list(Gateway.KINDS))
def gateway(request):
    if not shutil.which(request.param, path=Gateway.PATH):
        pytest.skip(f"no {request.param}")
    stack, api = Serve(*rules(f"--ingress.forward_headers={Gateway.KINDS[request.param][0]}")), Api()
    gateway = Gateway(request.param, stack, api)
    gateway.stack = stack
    gateway.logs = stack.logs
    yield gateway
    gateway.process.stop(signal.SIGTERM)
    stack.processes.remove(gateway.process)
    stack.stop()
    api.stop()


@pytest.fixture
def visitor(gateway):
    tenant, key = limited_tenant(gateway.stack)
    client = gateway.client(key["secret"])
    client.tenant_id, client.key_id = tenant.tenant_id, key["key"]["id"]
    return client


def test_the_api_behind_a_gateway_learns_who_calls(visitor):
    answer = visitor.get("/elsewhere?a=%20b", headers={"X-Corbel-Tenant": "root", "X-Corbel-Scopes": "*"})
    assert answer.status_code == 200
    seen = answer.json()
    assert seen["path"] == "/elsewhere?a=%20b"
    assert seen["headers"]["x-corbel-tenant"] == visitor.tenant_id
    assert seen["headers"]["x-corbel-key-id"] == visitor.key_id
    assert seen["headers"]["x-corbel-plan"] == "unlimited"
    assert seen["headers"]["x-corbel-scopes"] == "ratelimits.check"


def test_a_body_passes_the_gateway_whole(visitor):
    body = "a" * 200000
    assert visitor.post("/elsewhere", data=body).json()["body"] == body


def test_a_gateway_refuses_who_has_no_good_key(gateway):
    for key in (None, "cb_live_nonsense"):
        answer = gateway.client(key).get("/elsewhere")
        assert answer.status_code == 401
        assert answer.headers["WWW-Authenticate"].startswith("Bearer")


def test_a_gateway_holds_callers_to_their_limit(visitor):
    spoofed = {f"X-{kind}-{name}": "/free/1" for kind in ("Original", "Forwarded") for name in ("Uri", "URI", "URL")}
    answers = [visitor.get("/charts/1", headers=spoofed) for _ in range(4)]
    assert [a.status_code for a in answers] == [200, 200, 429, 429]
    assert int(answers[2].headers["Retry-After"]) > 0
    assert answers[2].headers["RateLimit"].startswith('"charts";r=0')
    assert visitor.get("/%63harts/1").status_code == 429
    assert visitor.get("/free/1").status_code == 200


def test_a_gateway_refuses_while_corbel_is_away(gateway, visitor):
    gateway.stack.serve.send(signal.SIGKILL)
    gateway.stack.serve.popen.wait()
    try:
        assert visitor.get("/free/1").status_code in (gateway.REFUSES.get(gateway.kind, 503), 502)
    finally:
        gateway.stack.start()
    until(lambda: visitor.get("/free/1").status_code == 200, "the gateway asks again", 10)
