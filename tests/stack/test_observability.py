"""The profile "observability": what is provisioned is what the programs have."""
import re

import pytest
import requests
from engine import SOURCE, Missing
from stack import free_port, until

PROMETHEUS = re.search(r"image: (prom/prometheus:\S+)", (SOURCE / "docker-compose.yml").read_text()).group(1)


@pytest.fixture
def prometheus(engine, compose):
    try:
        engine.need(PROMETHEUS)
    except Missing as why:
        pytest.skip(str(why))
    compose.own["PROMETHEUS_PORT"] = str(free_port())
    compose.compose("--profile", "observability", "up", "-d", "prometheus")
    yield f"http://127.0.0.1:{compose.own['PROMETHEUS_PORT']}/api/v1"
    compose.compose("--profile", "observability", "rm", "-sf", "prometheus")


def ups(prometheus):
    try:
        found = requests.get(f"{prometheus}/query", params={"query": 'up{job="corbel"}'}, timeout=5).json()
    except (requests.RequestException, ValueError):
        return []
    return [result["value"][1] for result in found["data"]["result"]]


def test_prometheus_finds_every_replica_and_knows_the_alerts(compose, prometheus):
    until(lambda: ups(prometheus) == ["1"] * sum(compose.replicas.values()), "every daemon is scraped")
    compose.up(ratelimitd=2)
    until(lambda: ups(prometheus).count("1") == sum(compose.replicas.values()), "the new replica is scraped")
    groups = requests.get(f"{prometheus}/rules", timeout=5).json()["data"]["groups"]
    rules = [rule for group in groups for rule in group["rules"]]
    assert len(rules) >= 9
    until(lambda: all(rule["health"] == "ok" for group in requests.get(f"{prometheus}/rules", timeout=5).json()["data"]["groups"]
                      for rule in group["rules"]), "every rule has been evaluated")
