"""Redis behind TLS: rediss:// and the files that belong to it."""
import re
import subprocess
import types

import pytest
from stack import BIN, Process, Redis, Serve, free_port, until


class Secure(Redis):
    """A Redis with a second port, for TLS, that shows a certificate for localhost."""

    def __init__(self, directory):
        self.tls_port = free_port()
        self.certificate, self.key = directory / "redis.pem", directory / "redis.key"
        subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
                        "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost", "-keyout", self.key,
                        "-out", self.certificate], check=True, capture_output=True)
        spawn = lambda name, argv: Process(name, [
            *argv, "--tls-port", self.tls_port, "--tls-cert-file", self.certificate, "--tls-key-file", self.key,
            "--tls-auth-clients", "no", "--tls-ca-cert-file", self.certificate], directory)
        super().__init__(types.SimpleNamespace(spawn=spawn, directory=directory))
        self.url = f"rediss://localhost:{self.tls_port}/0"

    def count(self, pattern):
        ran = subprocess.run(["redis-cli", "-p", str(self.port), "--scan", "--pattern", pattern], check=True, capture_output=True,
                             text=True)
        return len(ran.stdout.split())


@pytest.fixture
def redis(tmp_path):
    made = Secure(tmp_path)
    yield made
    made.stop()


def checked(tenant):
    return tenant.post("/v1/ratelimits/check", {"checks": [{"limit": "hourly", "key": "k"}]}).json()["limits"][0]


def test_limits_are_counted_in_a_redis_behind_tls(own, redis):
    stack = own(Serve, f"--redis.url={redis.url}", f"--redis.tls_ca={redis.certificate}")
    tenant = stack.tenant(plan="unlimited", scopes=["*"])
    made = tenant.post("/v1/limits", {"name": "hourly", "strategy": "TOKEN_BUCKET", "limit": 5, "window_ms": 3600000})
    assert made.status_code == 201, made.text
    until(lambda: not checked(tenant).get("degraded"), "Redis counts")
    assert redis.count(f"*{tenant.tenant_id}*") > 0


def test_a_redis_that_cannot_show_who_it_is_counts_as_away(own, redis):
    stack = own(Serve, f"--redis.url={redis.url}")
    stack.serve.wait_for(r"redis is away.*TLS: self.signed certificate")


@pytest.mark.parametrize("options, named", [
    (["--redis.url=http://localhost"], r"redis\.url.*rediss://"),
    (["--redis.url=rediss://localhost", "--redis.tls_cert=/nowhere.pem"], r"redis\.tls_cert.*redis\.tls_key"),
    (["--redis.url=rediss://localhost", "--redis.tls_ca=/nowhere.pem"], r"redis\.tls_ca: /nowhere\.pem"),
])
def test_options_that_cannot_work_are_named(tmp_path, options, named):
    ran = subprocess.run([BIN / "corbel", "serve", f"--data={tmp_path}", "--ingress.listen=127.0.0.1:0", *options],
                         capture_output=True, text=True, timeout=60)
    assert ran.returncode in (1, 2) and re.search(named, ran.stdout + ran.stderr), ran.stdout + ran.stderr
