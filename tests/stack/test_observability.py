"""The profile "observability": what is provisioned is what the programs have."""
import json
import re

import pytest
import requests
from engine import SOURCE, Missing
from load import Load
from stack import free_port, until

PROMETHEUS = re.search(r"image: (prom/prometheus:\S+)", (SOURCE / "docker-compose.yml").read_text()).group(1)

# Nothing of these is counted while all is well.
ONLY_WHEN_SOMETHING_IS_WRONG = {
    "corbel_store_failures_total", "corbel_trace_spans_dropped_total", "corbel_otlp_exports_total", "corbel_log_records_dropped_total",
    "corbel_tls_certificate_expires_seconds"}


@pytest.fixture
def prometheus(engine, compose):
    try:
        engine.need(PROMETHEUS)
    except Missing as why:
        pytest.skip(str(why))
    compose.own["PROMETHEUS_PORT"] = str(free_port())
    compose.compose("--profile", "observability", "up", "-d", "prometheus")
    url = f"http://127.0.0.1:{compose.own['PROMETHEUS_PORT']}/api/v1"
    until(lambda: ups(url), "Prometheus scrapes")
    yield url
    compose.compose("--profile", "observability", "rm", "-sf", "prometheus")


def ups(prometheus):
    try:
        found = requests.get(f"{prometheus}/query", params={"query": 'up{job="corbel"}'}, timeout=5).json()
    except (requests.RequestException, ValueError):
        return []
    return [result["value"][1] for result in found["data"]["result"]]


def asked(prometheus, query):
    return requests.get(f"{prometheus}/query", params={"query": query}, timeout=10).json()


def expressions():
    """Everything that the dashboard asks for, as Grafana would ask it."""
    for panel in json.loads((SOURCE / "deploy/grafana/corbel.json").read_text())["panels"]:
        for target in panel.get("targets", []):
            yield target["expr"].replace("$__rate_interval", "1m").replace("$job", "corbel")


def test_prometheus_finds_every_replica_and_knows_the_alerts(compose, prometheus):
    until(lambda: ups(prometheus) == ["1"] * sum(compose.replicas.values()), "every daemon is scraped")
    compose.up(ratelimitd=2)
    until(lambda: ups(prometheus).count("1") == sum(compose.replicas.values()), "the new replica is scraped")
    groups = requests.get(f"{prometheus}/rules", timeout=5).json()["data"]["groups"]
    rules = [rule for group in groups for rule in group["rules"]]
    assert len(rules) >= 9
    until(lambda: all(rule["health"] == "ok" for group in requests.get(f"{prometheus}/rules", timeout=5).json()["data"]["groups"]
                      for rule in group["rules"]), "every rule has been evaluated")


def test_a_busy_stack_has_what_dashboard_and_alerts_ask_for(compose, prometheus):
    wanted = set()
    for query in expressions():
        assert asked(prometheus, query)["status"] == "success", query
        wanted |= set(re.findall(r"\b(?:corbel|process)_\w+", query))
    wanted |= set(re.findall(r"\b(?:corbel|process)_\w+", (SOURCE / "deploy/prometheus/alerts.yml").read_text()))
    assert len(wanted) > 30
    with Load(compose) as load:
        load.tenant.get("/v1/cache/load/k1")

        def missing():
            return {name for name in wanted if not asked(prometheus, name)["data"]["result"]} - ONLY_WHEN_SOMETHING_IS_WRONG
        until(lambda: not missing(), "every metric has a value", 120)
    assert load.lost() == []
