"""What an operator's tools see: /metrics by Prometheus' rules, and what an OTLP collector receives."""
import http.server
import math
import pathlib
import re
import struct
import threading

import pytest
import requests

from stack import Serve, Stopwatch, until

SAMPLE = re.compile(r'^([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(.*)\})? (\S+)$')
LABEL = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\]|\\.)*)"(?:,|$)')


def parse(text):
    """Samples of an exposition as {(name, labels): value}; fails on a line that is none."""
    samples = {}
    for line in text.splitlines():
        if line.startswith("#"):
            continue
        found = SAMPLE.match(line)
        assert found, line
        labels = LABEL.findall(found[2] or "")
        assert LABEL.sub("", found[2] or "") == "", line
        key = found[1], frozenset((name, re.sub(r'\\(.)', lambda m: {"n": "\n"}.get(m[1], m[1]), value))
                                  for name, value in labels)
        assert key not in samples, f"twice: {line}"
        samples[key] = float(found[3])
    return samples


class Metrics:
    def __init__(self, stack):
        self.url = f"http://127.0.0.1:{stack.admin_port}/metrics"

    def read(self, accept=None):
        return requests.get(self.url, headers={"Accept": accept} if accept else {}, timeout=10)

    def value(self, name, **labels):
        return parse(self.read().text).get((name, frozenset(labels.items())), 0)


@pytest.fixture
def metrics(serve):
    return Metrics(serve)


def test_requests_are_counted_by_route_and_status(serve, metrics):
    tenant = serve.tenant("Counted")
    before = metrics.value("corbel_http_requests_total", method="GET", route="/v1/tenants/{id}", status="200")
    for _ in range(3):
        assert serve.operator.get(f"/v1/tenants/{tenant.tenant_id}").status_code == 200
    serve.operator.get("/v1/tenants/ten_00000000000000000000000000000000")
    requests.get(serve.url + "/v1/nowhere/at/all", timeout=10)
    requests.get(serve.url + "/healthz", timeout=10)

    def read():
        value = metrics.value
        return (value("corbel_http_requests_total", method="GET", route="/v1/tenants/{id}", status="200") - before == 3
                and value("corbel_http_requests_total", method="GET", route="/v1/tenants/{id}", status="404") >= 1
                and value("corbel_http_requests_total", method="any", route="none", status="404") >= 1
                and value("corbel_http_requests_total", method="any", route="page", status="200") >= 1)
    until(read, "the requests are counted", 10)
    assert metrics.value("corbel_http_request_duration_seconds_count", method="GET", route="/v1/tenants/{id}") >= 4


def test_calls_behind_a_request_are_counted_by_service_method_and_code(serve, metrics):
    labels = {"service": "accountd", "method": "Tenants/Get", "code": "NOT_FOUND"}
    before = metrics.value("corbel_rpc_server_requests_total", **labels)
    serve.operator.get("/v1/tenants/ten_00000000000000000000000000000001")
    assert metrics.value("corbel_rpc_server_requests_total", **labels) == before + 1
    assert metrics.value("corbel_bus_client_calls_total", service="accountd", code="NOT_FOUND") >= 1
    assert metrics.value("corbel_bus_client_duration_seconds_count", service="accountd") >= 1


@pytest.mark.parametrize("accept", [None, "application/openmetrics-text; version=1.0.0"])
def test_the_exposition_keeps_the_rules_of_its_format(serve, metrics, accept):
    """Families are not interleaved, each has its TYPE once and before its samples, histograms add up."""
    answer = metrics.read(accept)
    families, current = {}, None
    is_open = accept is not None
    assert answer.headers["Content-Type"].startswith("application/openmetrics-text; version=1.0.0" if is_open
                                                     else "text/plain; version=0.0.4")
    lines = answer.text.splitlines()
    if is_open:
        assert lines.pop() == "# EOF"
    for line in lines:
        if line.startswith("# TYPE "):
            _, _, current, kind = line.split(" ")
            assert current not in families, f"{current} twice"
            families[current] = kind
        elif not line.startswith("#"):
            name = SAMPLE.match(line)[1]
            suffixes = {"counter": ["_total"] if is_open else [""], "gauge": [""],
                        "histogram": ["_bucket", "_sum", "_count"], "summary": ["", "_sum", "_count"]}[families[current]]
            assert name in [current + s for s in suffixes], line
    samples = parse(answer.text)
    for (name, labels), value in samples.items():
        if name.endswith("_bucket") and ("le", "+Inf") in labels:
            rest = labels - {("le", "+Inf")}
            assert value == samples[name[:-len("bucket")] + "count", rest]
            bounds = sorted((float(dict(other)["le"]), v) for (n, other), v in samples.items()
                            if n == name and {l for l in other if l[0] != "le"} == rest)
            assert [v for _, v in bounds] == sorted(v for _, v in bounds) and bounds[-1][0] == math.inf


def test_what_is_exposed_is_what_the_documentation_says(serve, metrics):
    page = (pathlib.Path(__file__).parents[2] / "docs/telemetry.md").read_text()
    documented = {name: (kind, {label.strip() for label in labels.split(",")} - {""}) for name, kind, labels in
                  re.findall(r"^\| `(\w+)` \| (\w+) \|([^|]*)\|", page, re.M)}
    text = metrics.read().text
    exposed = dict(re.findall(r"^# TYPE (\S+) (\S+)$", text, re.M))
    assert {name: documented.get(name, ("missing",))[0] for name in exposed} == exposed
    for name, labels in parse(text):
        family = next(f for f in (name, re.sub("_(bucket|sum|count)$", "", name)) if f in exposed)
        assert {label for label, _ in labels} - {"le"} == documented[family][1], family


# ------------------------------------------------------------ OTLP

def varint(data, at):
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            return value, at


def fields(data):
    """The wire format of protobuf: {number: [value, …]}."""
    found, at = {}, 0
    while at < len(data):
        tag, at = varint(data, at)
        if tag & 7 == 0:
            value, at = varint(data, at)
        elif tag & 7 == 1:
            value, at = data[at:at + 8], at + 8
        elif tag & 7 == 2:
            size, at = varint(data, at)
            value, at = data[at:at + size], at + size
            assert len(value) == size
        else:
            raise AssertionError(f"wire type {tag & 7}")
        found.setdefault(tag >> 3, []).append(value)
    return found


def attributes(encoded):
    return {fields(a)[1][0].decode(): fields(fields(a)[2][0])[1][0].decode() for a in encoded}


class Collector:
    """An HTTP server that keeps the bodies it gets, by path."""

    def __init__(self):
        outer = self
        self.bodies = []

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                outer.bodies.append((self.path, self.headers["Content-Type"], body))
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *args):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def spans(self):
        for path, kind, body in list(self.bodies):
            if path == "/v1/traces":
                assert kind == "application/x-protobuf"
                for resource in fields(body)[1]:
                    for scope in fields(resource)[2]:
                        yield from (fields(span) for span in fields(scope).get(2, []))

    def counter(self, name, **labels):
        """The last pushed value of a counter's series."""
        value = None
        for path, _, body in list(self.bodies):
            if path != "/v1/metrics":
                continue
            for metric in fields(fields(fields(body)[1][0])[2][0])[2]:
                metric = fields(metric)
                if metric[1][0].decode() != name:
                    continue
                for point in fields(metric[7][0])[1]:
                    point = fields(point)
                    if attributes(point.get(7, [])) == labels:
                        value = struct.unpack("<q", point[6][0])[0]
        return value

    def stop(self):
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def collector():
    made = Collector()
    yield made
    made.stop()


def test_a_collector_gets_the_spans_of_a_callers_trace(own, collector):
    stack = own(Serve, f"--trace.endpoint={collector.url}")
    trace = "4bf92f3577b34da6a3ce929d0e0e4736"
    answer = stack.operator.get("/v1/tenants", headers={"traceparent": f"00-{trace}-00f067aa0ba902b7-01"})
    assert answer.status_code == 200

    def served():
        return [s for s in collector.spans() if s[1][0].hex() == trace and s[5][0] == b"corbel.v1.Tenants/List"]
    span = until(served, "the span of the call arrives", 15)[0]
    assert struct.unpack("<Q", span[7][0])[0] <= struct.unpack("<Q", span[8][0])[0]
    assert len(span[2][0]) == 8 and len(span[4][0]) == 8
    assert span[6] == [2]


def test_metrics_are_pushed_with_the_numbers_that_are_scraped(own, collector):
    stack = own(Serve, f"--metrics.endpoint={collector.url}", "--metrics.interval=100ms")
    labels = {"service": "accountd", "method": "Plans/Get", "code": "OK"}
    for _ in range(5):
        assert stack.operator.get("/v1/plans/free").status_code == 200
    until(lambda: collector.counter("corbel_rpc_server_requests", **labels) == 5, "five calls are pushed", 15)
    assert Metrics(stack).value("corbel_rpc_server_requests_total", **labels) == 5


def test_a_collector_that_is_away_delays_no_request_and_no_end(own):
    stack = own(Serve, "--trace.endpoint=http://127.0.0.1:1", "--trace.sample_permille=1000",
                "--metrics.endpoint=http://127.0.0.1:1", "--metrics.interval=100ms")
    for _ in range(50):
        watch = Stopwatch()
        answer = stack.operator.get("/v1/plans/free")
        assert answer.status_code == 200 and watch.calm_s() < 1
    assert stack.serve.stop() == 0
    stack.processes.remove(stack.serve)
