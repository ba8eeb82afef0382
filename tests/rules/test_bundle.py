"""Rules, their tests, runbooks, README, dashboards and the metric catalogue tell of the same things."""

import json
import re
from pathlib import Path
from typing import Any

import promql_parser
import pytest
import yaml
from prometheus.alert_table import alert_table, between_marks, with_table
from tests.rules.bundle import (
    PROMETHEUS,
    RULE_TESTS,
    RULES,
    RUNBOOKS,
    alerts,
    load,
    rules,
    runbook_queries,
    selectors,
)
from tests.tools import REPOSITORY

from ml_exporter.metrics.catalogue import CATALOGUE

ALERTS = alerts()
ALERT_IDS = [f"{rule['alert']}-{rule['labels']['severity']}" for rule in ALERTS]
ANNOTATIONS = {"summary", "description", "runbook_url", "dashboard_url"}
DASHBOARDS = REPOSITORY / "grafana" / "dashboards"

# What Prometheus itself writes, and what others serve, with the labels that may select it.
FOREIGN = {
    "up": {"job", "instance"},
    "ALERTS": {"alertname", "alertstate", "column"},
    "prometheus_notifications_errors_total": set(),
    "prometheus_notifications_alertmanagers_discovered": set(),
    "alertmanager_notifications_failed_total": set(),
}


def known_series() -> dict[str, set[str]]:
    """Return every series that a query may select, with its labels but job and instance."""
    known = {entry.name: set(entry.labels) for entry in CATALOGUE}
    histograms = [entry for entry in CATALOGUE if entry.kind == "histogram"]
    for ending, more in (("bucket", {"le"}), ("sum", set()), ("count", set())):
        known |= {f"{entry.name}_{ending}": {*entry.labels, *more} for entry in histograms}
    for rule in rules():
        if "record" in rule:
            sources = [known[s.name] for s in selectors(rule["expr"]) if s.name in known]
            known[rule["record"]] = set(rule.get("labels", ())).union(*sources)
    return known | FOREIGN


KNOWN = known_series()


def named_in_tests(fires: bool) -> set[str]:
    """Return the alerts that some test expects to fire, or to stay silent."""
    cases = [case for path in RULE_TESTS for test in load(path)["tests"] for case in cases_of(test)]
    return {case["alertname"] for case in cases if bool(case["exp_alerts"]) == fires}


def cases_of(test: dict[str, Any]) -> list[dict[str, Any]]:
    return list(test.get("alert_rule_test", []))


def unknown_in(query: str) -> list[str]:
    """Return the names and labels in a query that nothing serves."""
    problems = []
    for selector in selectors(query):
        if selector.name is None:
            continue
        if selector.name not in KNOWN:
            problems.append(selector.name)
            continue
        labels = {matcher.name for matcher in selector.matchers.matchers}
        problems += [f"{selector.name}: {x}" for x in labels - KNOWN[selector.name] - {"job", "instance"}]
    return problems


def test_alerts_tests_and_runbooks_are_the_same_set() -> None:
    names = {rule["alert"] for rule in ALERTS}
    assert len(names) >= 28
    assert named_in_tests(fires=True) == names
    # The watchdog never is silent: that is its meaning.
    assert named_in_tests(fires=False) | {"MLWatchdog"} == names
    assert {path.stem for path in RUNBOOKS} == names


def test_the_readme_has_a_row_for_each_alert() -> None:
    readme = (REPOSITORY / "README.md").read_text(encoding="utf-8")
    assert between_marks(readme) == alert_table()


def test_each_severity_of_an_alert_is_seen_to_fire() -> None:
    expected = {(rule["alert"], rule["labels"]["severity"]) for rule in ALERTS}
    cases = [case for path in RULE_TESTS for test in load(path)["tests"] for case in cases_of(test)]
    seen = {(c["alertname"], alert["exp_labels"]["severity"]) for c in cases for alert in c["exp_alerts"]}
    assert seen == expected


@pytest.mark.parametrize("rule", ALERTS, ids=ALERT_IDS)
def test_an_alert_is_complete(rule: dict[str, Any]) -> None:
    assert re.fullmatch(r"ML([A-Z][a-z]+)+", rule["alert"])
    assert rule["labels"]["severity"] in {"critical", "warning", "info"}
    assert not [value for value in rule["labels"].values() if "{{" in value]
    assert set(rule["annotations"]) == ANNOTATIONS
    assert "{{" not in rule["annotations"]["summary"]
    assert rule["annotations"]["runbook_url"] == f"{{{{ $externalLabels.runbooks_url }}}}/{rule['alert']}.md"
    assert ("for" in rule) == (rule["alert"] != "MLWatchdog")


@pytest.mark.parametrize("rule", ALERTS, ids=ALERT_IDS)
def test_a_gap_does_not_resolve_an_alert_on_a_model(rule: dict[str, Any]) -> None:
    judged = {selector.name for selector in selectors(rule["expr"])} - {"ml_model_version_info"}
    of_models = {name for name in judged if name and re.match(r"ml_(?!exporter_|host_)", name)}
    if of_models - {"ml_model_info"} or rule["alert"] in {"MLModelGone", "MLModelDrift"}:
        assert promql_parser.parse_duration(rule["keep_firing_for"]).total_seconds() >= 1800


@pytest.mark.parametrize("rule", ALERTS, ids=ALERT_IDS)
def test_the_dashboard_of_an_alert_exists_and_has_its_variables(rule: dict[str, Any]) -> None:
    link = re.sub(r"\{\{.*?\}\}", "", rule["annotations"]["dashboard_url"])
    uid, _, query = link.removeprefix("/d/").partition("?")
    pages = [json.loads(path.read_text(encoding="utf-8")) for path in DASHBOARDS.glob("*.json")]
    variables = {page["uid"]: {v["name"] for v in page["templating"]["list"]} for page in pages}
    assert {f"var-{name}" for name in variables[uid]} >= set(re.findall(r"var-\w+", query))


@pytest.mark.parametrize("rule", rules(), ids=lambda rule: rule.get("alert") or rule["record"])
def test_a_rule_asks_only_for_what_is_served(rule: dict[str, Any]) -> None:
    assert unknown_in(rule["expr"]) == []


@pytest.mark.parametrize("path", RUNBOOKS, ids=lambda path: path.stem)
def test_a_runbook_has_its_four_parts_and_queries_that_work(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    parts = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    assert parts == [path.stem, "Meaning", "Impact", "Diagnosis", "Mitigation"]
    assert runbook_queries(path)
    assert [problem for query in runbook_queries(path) for problem in unknown_in(query)] == []
    links = re.findall(r"\]\((.*?)\)", text)
    assert [link for link in links if not (path.parent / link).is_file()] == []


def test_a_query_for_what_nobody_serves_is_noticed() -> None:
    assert unknown_in("rate(ml_predictions_total[5m])") == []
    assert unknown_in('ml_quality{colour="red"} > ml_no_such') == ["ml_quality: colour", "ml_no_such"]


def test_links_in_alerts_come_from_labels_that_are_set_and_not_sent_on() -> None:
    config = load(PROMETHEUS / "prometheus.yml")
    used = {name for path in RULES for name in re.findall(r"\$externalLabels\.(\w+)", path.read_text())}
    dropped = config["alerting"]["alert_relabel_configs"][0]
    assert set(config["global"]["external_labels"]) == used
    assert dropped == {"action": "labeldrop", "regex": "|".join(sorted(used))}


def test_the_table_goes_between_the_marks_and_nowhere_else() -> None:
    text = "# Title\n<!-- alerts:begin -->\nold\n<!-- alerts:end -->\nrest\n"
    assert between_marks(with_table(text, "| new |")) == "| new |"
    assert with_table(text, "| new |").endswith("-->\nrest\n")
    with pytest.raises(ValueError, match="alerts:begin"):
        with_table("# Title\n", "| new |")


def test_the_table_has_a_row_for_each_alert_and_every_severity(tmp_path: Path) -> None:
    def rule(severity: str) -> dict[str, Any]:
        return {
            "alert": "MLDemo",
            "expr": "up == 0",
            "for": "5m",
            "labels": {"severity": severity},
            "annotations": {"summary": "It is down."},
        }

    group = {"name": "demo", "rules": [rule("critical"), {"record": "a:b", "expr": "up"}, rule("warning")]}
    (tmp_path / "demo.yml").write_text(yaml.safe_dump({"groups": [group]}))
    assert alert_table(tmp_path).splitlines()[2:] == [
        "| [MLDemo](alertmanager/runbooks/MLDemo.md) | demo | page or ticket | 5m | It is down. |"
    ]
