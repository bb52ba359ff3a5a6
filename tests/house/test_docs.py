"""The documentation says what the programs do: every option and every metric, and nothing else."""
import json
import os
import pathlib
import re
import subprocess

SOURCE = pathlib.Path(os.environ.get("CORBEL_SOURCE", pathlib.Path(__file__).parents[2]))
BIN = pathlib.Path(os.environ.get("CORBEL_BIN", SOURCE / "build/bin"))
OPTIONS = "docs/configuration.md"
FIRST_TABLE = "### process\n"


def options_of_the_program():
    # The default of `data` names the user's home directory.
    return subprocess.run([BIN / "corbel", "serve", "--print-options"], env={"HOME": "~"}, check=True,
                          capture_output=True, text=True).stdout


def test_the_options_page_is_what_the_program_prints():
    """`./dev docs` renews it: everything from the first table on."""
    page = (SOURCE / OPTIONS).read_text()
    assert page.count(FIRST_TABLE) == 1
    written = page[page.index(FIRST_TABLE):].strip().splitlines()
    printed = options_of_the_program().strip().splitlines()
    missing = [line for line in printed if line not in written]
    gone = [line for line in written if line not in printed]
    assert not missing and not gone, f"{OPTIONS}\n" + "\n".join(["missing:", *missing, "not true:", *gone])
    assert written == printed


def test_every_option_has_a_meaning_that_is_a_sentence():
    for line in options_of_the_program().splitlines():
        if line.startswith("| `"):
            meaning = line.rsplit(" | ", 1)[1].removesuffix(" |")
            assert meaning and meaning[0].isupper() or meaning[0] == "/" , line
            assert meaning.endswith((".", "…")), line


def documented_metrics():
    """{family: (type, labels)}"""
    found = {}
    for line in (SOURCE / "docs/telemetry.md").read_text().splitlines():
        row = re.fullmatch(r"\| `((?:corbel|process)_\w+)` \| (\w+) \|([^|]*)\| .+ \|", line)
        if row:
            assert row[1] not in found, f"{row[1]} twice"
            found[row[1]] = row[2], [label.strip() for label in row[3].split(",") if label.strip()]
    return found


def metrics_in_the_source():
    """Names of families as the code registers them: without "_total"."""
    found = set()
    for folder in ("common", "services"):
        for path in (SOURCE / folder).rglob("*.c"):
            found |= set(re.findall(r'\.name\s*=\s*"((?:corbel|process)_\w+)"', path.read_text()))
    return found


def test_every_metric_is_documented_and_every_documented_one_exists():
    documented = {name.removesuffix("_total") if kind == "counter" else name
                  for name, (kind, _) in documented_metrics().items()}
    assert documented - metrics_in_the_source() == set(), "documented, but not in the code"
    assert metrics_in_the_source() - documented == set(), "not in docs/telemetry.md"


def test_documented_counters_end_in_total_and_nothing_else_does():
    for name, (kind, _) in documented_metrics().items():
        assert kind in ("counter", "gauge", "histogram", "summary")
        assert name.endswith("_total") == (kind == "counter"), name


# Suffixes of the samples that a family has, by its type.
SAMPLES = {"counter": [""], "gauge": [""], "histogram": ["_bucket", "_sum", "_count"], "summary": ["", "_sum", "_count"]}


def queries():
    """Everything that asks Prometheus for a metric: where it stands, and the text."""
    for rule in re.findall(r"expr: (?:\|\n((?: {10,}.*\n)+)|(.*))", (SOURCE / "deploy/prometheus/alerts.yml").read_text()):
        yield "alerts.yml", "".join(rule)
    for panel in json.loads((SOURCE / "deploy/grafana/corbel.json").read_text())["panels"]:
        for target in panel.get("targets", []):
            yield f"dashboard, {panel['title']}", target["expr"]
    for row in re.findall(r"^\| [^|`]+ \| (`.+`) \|$", (SOURCE / "docs/telemetry.md").read_text(), re.M):
        yield "docs/telemetry.md", row


def test_every_query_asks_for_metrics_and_labels_that_exist():
    samples = {name + suffix: labels + (["le"] if suffix == "_bucket" else [])
               for name, (kind, labels) in documented_metrics().items() for suffix in SAMPLES[kind]}
    asked = list(queries())
    assert len(asked) > 40
    for where, text in asked:
        found = re.findall(r"\b((?:corbel|process)_[a-z_]+)(?:\{([^}]*)\})?", text)
        assert found or "up{" in text, f"{where}: {text}"
        for name, selector in found:
            assert name in samples, f"{where}: {name}"
            for label in re.findall(r'(\w+)\s*(?:=~|!~|!=|=)"', selector):
                assert label in samples[name] + ["job", "instance"], f"{where}: {name} has no label {label}"
        labels = {label for name, _ in found for label in samples[name]} | {"instance"}
        for group in re.findall(r"by \(([^)]*)\)", text):
            assert {label.strip() for label in group.split(",")} <= labels, f"{where}: {text}"


def test_every_alert_has_a_name_of_its_own_and_a_row_that_says_what_to_do():
    alerts = re.findall(r"^      - alert: (\w+)$", (SOURCE / "deploy/prometheus/alerts.yml").read_text(), re.M)
    rows = re.findall(r"^\| `(Corbel\w+)` \|[^|]+\|[^|]+\|$", (SOURCE / "docs/operations.md").read_text(), re.M)
    assert len(alerts) == len(set(alerts))
    assert sorted(rows) == sorted(alerts)


def test_every_metric_has_a_row_that_says_what_to_do():
    section = re.search(r"^## Metrics\n(.*?)^## ", (SOURCE / "docs/operations.md").read_text(), re.M | re.S).group(1)
    told = [name for row in re.findall(r"^\| (`[^|]+) \|[^|]+\|[^|]+\|$", section, re.M) for name in re.findall(r"`(\w+)`", row)]
    assert sorted(told) == sorted(documented_metrics())


def test_every_loss_that_is_described_names_the_tests_that_show_it():
    tests = {name for folder in ("e2e", "stack") for path in (SOURCE / "tests" / folder).glob("test_*.py")
             for name in re.findall(r"^def test_(\w+)\(", path.read_text(), re.M)}
    section = re.search(r"^## What is away\n(.*)", (SOURCE / "docs/operations.md").read_text(), re.M | re.S).group(1)
    rows = re.findall(r"^\| (?!away|---)[^|]+\|[^|]+\|[^|]+\| ([^|]+) \|$", section, re.M)
    assert len(rows) >= 10
    for row in rows:
        assert "the same" in row or "`" in row, row
        assert set(re.findall(r"`(\w+)`", row)) <= tests, row
