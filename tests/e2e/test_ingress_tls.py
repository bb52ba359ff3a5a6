"""HTTPS, and certificates that change while connections are open."""
import concurrent.futures
import os
import pathlib
import shutil
import signal
import socket
import ssl
import subprocess
import tempfile

import pytest
import requests
from raw import Raw
from stack import BIN, Client, Process, Serve, until

HEALTH = "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"


def write_pair(directory, name, kind="ec"):
    """A new self-signed pair in NAME.pem and NAME.key, both replaced at once as a certificate manager does."""
    key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"] if kind == "ec" else ["-newkey", "rsa:2048"]
    new = [directory / "new.pem", directory / "new.key"]
    subprocess.run(["openssl", "req", "-x509", "-nodes", *key, "-keyout", new[1], "-out", new[0], "-days", "2",
                    "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"],
                   check=True, stderr=subprocess.DEVNULL)
    for source, ending in zip(new, (".pem", ".key")):
        os.replace(source, directory / (name + ending))


class SecureServe(Serve):
    """corbel serve with HTTPS; its certificate and key are server.pem and server.key in `files`."""

    SCHEME = "https"

    def __init__(self, kind="ec", *options):
        self.files = pathlib.Path(tempfile.mkdtemp(prefix="corbel-tls-"))
        write_pair(self.files, "server", kind)
        super().__init__(f"--ingress.tls_cert={self.files}/server.pem", f"--ingress.tls_key={self.files}/server.key",
                         *options)

    def is_ready(self):
        return requests.get(self.url + "/readyz", timeout=5, verify=str(self.files / "server.pem")).status_code == 200

    def client(self, key=None):
        client = Client(self.url, key)
        client.session.verify = str(self.files / "server.pem")
        return client

    def wrap(self, maximum=None):
        context = ssl.create_default_context(cafile=self.files / "server.pem")
        if maximum:
            context.maximum_version = maximum
        return lambda plain: context.wrap_socket(plain, server_hostname="localhost")

    def certificate(self):
        """What a new connection is shown."""
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        with socket.create_connection(("127.0.0.1", self.port), 5) as plain:
            with context.wrap_socket(plain) as secure:
                return ssl.DER_cert_to_PEM_cert(secure.getpeercert(True))

    def on_disk(self):
        return (self.files / "server.pem").read_text()

    def stop(self):
        shutil.rmtree(self.files, ignore_errors=True)
        return super().stop()


@pytest.fixture(scope="module")
def secure():
    stack = SecureServe()
    yield stack
    stack.stop()


def test_the_whole_api_is_served_over_https(secure):
    assert secure.url.startswith("https://")
    tenant = secure.tenant(scopes=["*"])
    assert tenant.get("/v1/keys").status_code == 200
    assert "https://127.0.0.1" in secure.serve.output()


def test_an_rsa_certificate_serves_too(own):
    stack = own(SecureServe, "rsa")
    assert stack.client().get("/healthz").status_code == 200


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_tls_of_today_is_spoken(secure, version):
    with Raw(secure.port, wrap=secure.wrap(maximum=version)) as raw:
        assert raw.socket.version() == version.name.replace("_", ".")
        raw.send(HEALTH * 20)
        assert [raw.answer().status for _ in range(20)] == [200] * 20


def test_heads_and_bodies_may_come_in_records_of_their_own(secure):
    body = "{}"
    head = (f"POST /v1/keys HTTP/1.1\r\nHost: localhost\r\nX-API-Key: {secure.admin_key}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n")

    def client(_):
        with Raw(secure.port, wrap=secure.wrap()) as raw:
            raw.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            return [raw.send(head).send(body).answer().status for _ in range(30)]
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        assert list(pool.map(client, range(8))) == [[201] * 30] * 8


def test_plain_http_on_the_https_port_harms_nobody(secure):
    with Raw(secure.port) as plain:
        plain.send(HEALTH)
        assert secure.client().get("/healthz").status_code == 200
        assert plain.is_closed() or plain.answer() is None


def test_a_handshake_that_never_comes_is_cut_off(own):
    stack = own(SecureServe, "ec", "--ingress.idle_timeout=1s")
    with Raw(stack.port) as silent, Raw(stack.port) as half:
        half.send(b"\x16\x03\x01\x02\x00\x01")  # the first bytes of a ClientHello
        assert silent.is_closed() and half.is_closed()
    assert stack.client().get("/healthz").status_code == 200


@pytest.mark.parametrize("is_told", [True, False], ids=["SIGHUP", "changed file"])
def test_a_new_certificate_is_shown_to_new_connections_and_cuts_no_old_ones(secure, is_told):
    with Raw(secure.port, wrap=secure.wrap()) as old:
        assert old.send(HEALTH).answer().status == 200
        write_pair(secure.files, "server")
        if is_told:
            secure.serve.send(signal.SIGHUP)
        until(lambda: secure.certificate() == secure.on_disk(), "the new certificate is shown", 10)
        assert old.send(HEALTH).answer().status == 200
    assert secure.client().get("/healthz").status_code == 200


def test_a_pair_that_does_not_belong_together_is_refused_and_the_old_one_stays(own):
    stack = own(SecureServe)
    shown = stack.certificate()
    write_pair(stack.files, "other")
    os.replace(stack.files / "other.key", stack.files / "server.key")
    stack.serve.send(signal.SIGHUP)
    assert stack.serve.wait_for(r"certificate refused: the old one stays.*server\.key")
    assert stack.certificate() == shown
    os.replace(stack.files / "other.pem", stack.files / "server.pem")
    stack.serve.send(signal.SIGHUP)
    until(lambda: stack.certificate() == stack.on_disk(), "the repaired pair is shown", 5)


def test_many_renewals_keep_serving(secure):
    client = secure.client()
    for _ in range(10):
        write_pair(secure.files, "server")
        secure.serve.send(signal.SIGHUP)
        until(lambda: secure.certificate() == secure.on_disk(), "the new certificate is shown", 5)
        assert client.get("/healthz").status_code == 200  # on the connection that it opened first


@pytest.mark.parametrize("options, said", [
    (["--ingress.tls_cert={dir}/a.pem"], "need each other"),
    (["--ingress.tls_cert={dir}/a.pem", "--ingress.tls_key={dir}/missing.key"], "missing.key"),
    (["--ingress.tls_cert={dir}/a.key", "--ingress.tls_key={dir}/a.key"], "a.key"),
    (["--ingress.tls_cert={dir}/a.pem", "--ingress.tls_key={dir}/b.key"], "b.key"),
], ids=["half", "missing", "no certificate", "two pairs"])
def test_a_wrong_pair_at_the_start_is_named(tmp_path, options, said):
    for name in "ab":
        write_pair(tmp_path, name)
    process = Process("serve", [BIN / "corbel", "serve", f"--data={tmp_path}/data", "--ingress.listen=127.0.0.1:0",
                                "--admin.listen=127.0.0.1:0", *[o.format(dir=tmp_path) for o in options]], tmp_path)
    assert process.popen.wait(20) != 0
    assert said in process.output()
