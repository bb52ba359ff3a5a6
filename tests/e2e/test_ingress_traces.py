"""Traces: from the client through the ingress to the services, as a collector sees them."""
import http.server
import json
import re
import socket
import threading
import uuid

import pytest
from stack import Processes, Serve, postgres_bin, until

TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
TRACEPARENT = re.compile(r"00-([0-9a-f]{32})-([0-9a-f]{16})-(0[01])")


class Collector:
    """An OTLP/HTTP collector for JSON; spans() are flat, with their attributes as a dictionary."""

    def __init__(self):
        self.bodies = bodies = []

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                bodies.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", "2")
                self.end_headers()
                self.wfile.write(b"{}")

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def spans(self, trace=None):
        found = []
        for body in list(self.bodies):
            for resource in body["resourceSpans"]:
                for span in (s for scope in resource["scopeSpans"] for s in scope["spans"]):
                    flat = {a["key"]: a["value"]["stringValue"] for a in span.get("attributes", [])}
                    found.append({**span, "attributes": flat})
        return [span for span in found if trace in (None, span["traceId"])]

    def stop(self):
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture(scope="module")
def collector():
    collector = Collector()
    yield collector
    collector.stop()


@pytest.fixture(scope="module", params=["serve", "processes"])
def traced(request, collector):
    """Records what its callers ask for, and begins no traces by itself."""
    options = [f"--trace.endpoint={collector.url}", "--trace.protocol=json", "--trace.sample_permille=0"]
    if request.param == "processes" and not postgres_bin():
        pytest.skip("no PostgreSQL")
    stack = Serve(*options) if request.param == "serve" else Processes(*options)
    yield stack
    stack.stop()


def of_trace(collector, trace, count):
    return until(lambda: len(collector.spans(trace)) >= count and collector.spans(trace), f"{count} spans", 10)


def test_a_clients_trace_goes_through_the_ingress_to_the_service(traced, collector):
    assert traced.operator.get("/v1/plans").status_code == 200  # so that the key is known
    trace = uuid.uuid4().hex
    answer = traced.operator.get("/v1/tenants/root", headers={"traceparent": f"00-{trace}-{PARENT}-01",
                                                              "X-Request-Id": "traced"})
    assert answer.status_code == 200
    returned = TRACEPARENT.fullmatch(answer.headers["traceparent"])
    assert returned.group(1) == trace and returned.group(3) == "01"
    spans = of_trace(collector, trace, 2)
    own = next(span for span in spans if span["spanId"] == returned.group(2))
    assert own["parentSpanId"] == PARENT
    assert own["kind"] == 2
    assert own["name"] == "/v1/tenants/{id}"
    assert own["attributes"]["http.request.method"] == "GET"
    assert own["attributes"]["url.path"] == "/v1/tenants/root"
    assert own["attributes"]["http.route"] == "/v1/tenants/{id}"
    assert own["attributes"]["http.response.status_code"] == "200"
    assert own["attributes"]["corbel.request_id"] == "traced"
    assert own["attributes"]["corbel.tenant"] == "root"
    assert int(own["startTimeUnixNano"]) < int(own["endTimeUnixNano"])
    service = next(span for span in spans if span.get("parentSpanId") == own["spanId"])
    assert int(own["startTimeUnixNano"]) <= int(service["startTimeUnixNano"])
    assert int(service["endTimeUnixNano"]) <= int(own["endTimeUnixNano"])


def test_refusals_are_spans_too(traced, collector):
    trace = uuid.uuid4().hex
    traced.client().get("/v1/nothing", headers={"traceparent": f"00-{trace}-{PARENT}-01"})
    span, = of_trace(collector, trace, 1)
    assert span["attributes"]["http.response.status_code"] == "404"
    assert span.get("status", {}).get("code", 0) in (0, 1)  # the client's fault is no error of the server


@pytest.mark.parametrize("given", [f"00-{TRACE}-{PARENT}-00", None, "00-nonsense", f"ff-{TRACE}-{PARENT}-01",
                                   f"00-{'0' * 32}-{PARENT}-01"])
def test_what_is_not_sampled_is_returned_and_not_exported(traced, collector, given):
    before = len(collector.spans())
    answer = traced.client().get("/healthz", headers={"traceparent": given} if given else {})
    trace, span, flags = TRACEPARENT.fullmatch(answer.headers["traceparent"]).groups()
    assert flags == "00" and set(trace) != {"0"}
    assert (trace == TRACE) == (given is not None and given.startswith("00-" + TRACE))
    # A later span that is exported shows that the earlier one would have been.
    marker = uuid.uuid4().hex
    traced.client().get("/healthz", headers={"traceparent": f"00-{marker}-{PARENT}-01"})
    of_trace(collector, marker, 1)
    assert collector.spans(trace) == [] and len(collector.spans()) == before + 1


def test_the_configured_share_of_new_traces_is_recorded(own, collector):
    stack = own(Serve, f"--trace.endpoint={collector.url}", "--trace.protocol=json", "--trace.sample_permille=1000")
    answer = stack.client().get("/healthz")
    trace, _, flags = TRACEPARENT.fullmatch(answer.headers["traceparent"]).groups()
    assert flags == "01"
    span, = of_trace(collector, trace, 1)
    assert "parentSpanId" not in span or span["parentSpanId"] == ""


def test_a_collector_that_never_answers_delays_nothing(own):
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()  # and never accepts
        stack = own(Serve, f"--trace.endpoint=http://127.0.0.1:{silent.getsockname()[1]}",
                    "--trace.sample_permille=1000")
        client = stack.client()
        # More spans than are exported at once: one that waited for its export would wait for ever.
        assert all(client.get("/healthz").status_code == 200 for _ in range(600))
