"""nginx as a reader of the cache, with the file of deploy/gateways."""
import pathlib
import shutil
import signal

import pytest
import requests
from origin import Origin
from stack import Process, Serve, free_port, until

CONFIG = pathlib.Path(__file__).parents[2] / "deploy/gateways/nginx-cache.conf"
PATH = "/usr/sbin:/usr/bin:/usr/local/bin"


@pytest.fixture(scope="module")
def origin():
    made = Origin()
    yield made
    made.stop()


@pytest.fixture(scope="module")
def nginx(origin):
    if not shutil.which("nginx", path=PATH):
        pytest.skip("no nginx")
    stack = Serve("--cached.allow=127.0.0.0/8")
    tenant = stack.tenant(plan="unlimited", scopes=["cache.*"])
    made = tenant.post("/v1/caches", {"namespace": {"name": "pages", "origin": {"url": origin.url + "/{key}"}}})
    assert made.status_code == 201, made.text
    key = stack.operator.post("/v1/keys", {"tenant_id": tenant.tenant_id, "name": "reader", "scopes": ["cache.read"]})
    assert key.status_code == 201, key.text
    stack.port_of_nginx = free_port()
    text = CONFIG.read_text().replace("127.0.0.1:8000", f"127.0.0.1:{stack.port_of_nginx}")
    (stack.directory / "nginx.conf").write_text(text.replace("127.0.0.1:8080", f"127.0.0.1:{stack.port}").replace("KEY", key.json()["secret"]))
    process = Process("nginx", ["nginx", "-p", f"{stack.directory}/", "-c", "nginx.conf", "-g", "daemon off;"],
                      stack.directory, {"PATH": PATH})
    stack.processes.append(process)
    stack.nginx, stack.client_of_tenant = process, tenant
    until(lambda: get(stack, "up").status_code == 200, "nginx answers")
    yield stack
    process.stop(signal.SIGTERM)
    stack.processes.remove(process)
    stack.stop()


def get(stack, key, **kwargs):
    session = requests.Session()
    session.trust_env = False
    try:
        return session.get(f"http://127.0.0.1:{stack.port_of_nginx}/pages/{key}", timeout=60, **kwargs)
    except requests.ConnectionError as error:
        assert stack.nginx.is_alive(), stack.nginx.output()
        return type("Away", (), {"status_code": 0, "text": str(error)})


def test_a_client_of_nginx_gets_what_the_origin_has_by_way_of_the_cache(nginx, origin):
    reply = get(nginx, "a/b%20c")
    assert (reply.status_code, reply.content, reply.headers["Content-Type"]) == (200, b"page", "text/html")
    assert reply.headers["Cache-Status"].startswith("corbel; fwd=uri-miss; stored; ttl=") and "Age" in reply.headers
    assert get(nginx, "a/b%20c").content == b"page" and origin.asked.count("/a/b%20c") == 1
    known = get(nginx, "a/b%20c", headers={"If-None-Match": reply.headers["ETag"]})
    assert (known.status_code, known.content) == (304, b"")


def test_what_is_invalidated_nginx_gives_no_longer_than_its_own_second(nginx, origin):
    assert get(nginx, "news").content == b"page"
    origin.body = b"newer"
    nginx.client_of_tenant.post("/v1/caches/pages/invalidate", {"everything": True})
    until(lambda: get(nginx, "news").content == b"newer", "nginx asks again", 60)
    origin.body = b"page"


def test_a_client_of_nginx_can_neither_write_nor_take_a_token(nginx):
    session = requests.Session()
    session.trust_env = False
    for verb in ("PUT", "DELETE", "POST"):
        url = f"http://127.0.0.1:{nginx.port_of_nginx}/pages/up"
        assert session.request(verb, url, data=b"mine", timeout=60).status_code == 403
    reply = get(nginx, "cold", params={"lease": "true", "tenant_id": "root"})
    assert reply.status_code == 200 and "Corbel-Lease" not in reply.headers and "RateLimit" not in reply.headers


def test_nginx_goes_on_with_what_it_has_while_the_cache_is_away(nginx, origin):
    assert get(nginx, "kept").status_code == 200
    nginx.serve.stop()
    until(lambda: get(nginx, "never asked for").status_code in (502, 504), "the cache is away", 60)
    assert get(nginx, "kept").content == b"page"
    nginx.start()
    until(lambda: get(nginx, "asked for later").content == b"page", "the cache is back", 60)
