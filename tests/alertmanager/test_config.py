"""Alertmanager's configuration loads, routes as meant, and its texts read as meant."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.rules.bundle import checked
from tests.tools import REPOSITORY

FOLDER = REPOSITORY / "alertmanager"
CONFIG = FOLDER / "alertmanager.yml"
# What 0.25 refuses: receivers and keys that came later.
NOT_IN_025 = re.compile(
    r"^\s*-?\s*(msteams_configs|msteamsv2_configs|jira_configs|rocketchat_configs|incidentio_configs"
    r"|mattermost_configs|url_file|timeout|sources)\s*:",
    re.MULTILINE,
)
# What a later Alertmanager deprecates.
OLD_MATCHING = re.compile(r"\b(match|match_re|source_match|target_match|source_match_re|target_match_re)\s*:")
SECRETS = re.compile(
    r"^\W*(routing_key|service_key|api_key|api_url|auth_password|password|token|bearer_token)\s*:", re.M
)


def route(receiver: str, *labels: str) -> None:
    """Fail unless an alert with these labels goes to this receiver."""
    checked(
        "amtool",
        "config",
        "routes",
        "test",
        f"--config.file={CONFIG}",
        f"--verify.receivers={receiver}",
        *labels,
    )


def ready_receivers() -> str:
    """Return the receivers that stand in the file as comments, with the marks taken off."""
    text = CONFIG.read_text(encoding="utf-8")
    block = text.partition("# ready:begin\n")[2].partition("# ready:end")[0]
    return re.sub(r"^#", "", block, flags=re.MULTILINE)


def test_the_configuration_is_valid() -> None:
    assert "1 templates" in checked("amtool", "check-config", CONFIG)


@pytest.mark.parametrize(
    ("receiver", "labels"),
    [
        ("watchdog", {"alertname": "MLWatchdog", "severity": "info"}),
        ("pages", {"alertname": "MLExporterDown", "severity": "critical", "job": "ml_exporter"}),
        ("tickets", {"alertname": "MLReloadFailed", "severity": "warning"}),
        ("notes", {"alertname": "MLColumnDrift", "severity": "info", "team": "another"}),
        ("pages", {"alertname": "MLNoPredictions", "severity": "critical", "team": "another"}),
        ("tickets", {"alertname": "MLModelDrift", "severity": "warning", "team": "another"}),
        ("flight-ops-pages", {"severity": "critical", "team": "flight-ops", "model": "flight-delay"}),
        ("flight-ops-tickets", {"severity": "warning", "team": "flight-ops", "model": "flight-delay"}),
        ("notes", {"severity": "info", "team": "flight-ops", "model": "flight-delay"}),
        ("tickets", {"alertname": "Foreign"}),
        ("flight-ops-pages", {"alertname": "MLSourceDown", "severity": "critical", "team": "flight-ops"}),
        ("pages", {"alertname": "MLSourceDown", "severity": "critical", "team": "another"}),
        ("tickets", {"alertname": "MLSourceDown", "severity": "warning", "team": "another"}),
        ("notes", {"alertname": "MLBackfill", "severity": "info", "team": "flight-ops"}),
        ("retrain,notes", {"alertname": "MLRetrainingWanted", "severity": "info", "action": "retrain"}),
        (
            "retrain,notes",
            {
                "alertname": "MLRetrainingWanted",
                "severity": "info",
                "action": "retrain",
                "team": "flight-ops",
            },
        ),
    ],
)
def test_an_alert_goes_to_its_receiver(receiver: str, labels: dict[str, str]) -> None:
    arguments = [f"{name}={value}" for name, value in labels.items()]
    checked(
        "amtool",
        "config",
        "routes",
        "test",
        f"--config.file={CONFIG}",
        f"--verify.receivers={receiver}",
        *arguments,
    )


def test_a_wrong_receiver_is_noticed() -> None:
    with pytest.raises(AssertionError, match="WARNING"):
        route("notes", "severity=critical")


def test_a_models_alerts_come_together_and_all_models_of_a_pipeline_that_broke() -> None:
    def groupings(route: dict[str, Any]) -> list[Any]:
        own = [(route.get("matchers"), route["group_by"])] if "group_by" in route else []
        return own + [g for child in route.get("routes", []) for g in groupings(child)]

    config = yaml.safe_load(CONFIG.read_text(encoding="utf-8"))
    pipeline = (['alertname =~ "MLSourceDown|MLNoPredictions|MLModelServerDown"'], ["job"])
    assert groupings(config["route"]) == [(None, ["job", "model"]), pipeline, pipeline]


def test_tickets_wait_at_night_and_on_weekends_once_the_marks_are_taken_off(tmp_path: Path) -> None:
    text = CONFIG.read_text(encoding="utf-8")
    assert text.count("# quiet: mute_time_intervals:") == 2
    quiet = yaml.safe_load(text.replace("# quiet: ", "").replace("templates/", f"{FOLDER}/templates/"))

    def muted(route: dict[str, Any]) -> list[tuple[str, Any]]:
        own = [(route["receiver"], route["matchers"])] if route.get("mute_time_intervals") else []
        return own + [m for child in route.get("routes", []) for m in muted(child)]

    tickets = ["severity = warning"]
    assert muted(quiet["route"]) == [("flight-ops-tickets", tickets), ("tickets", tickets)]
    (tmp_path / "quiet.yml").write_text(yaml.safe_dump(quiet))
    assert "SUCCESS" in checked("amtool", "check-config", tmp_path / "quiet.yml")


def test_every_receiver_works_without_an_account_on_this_machine() -> None:
    config = yaml.safe_load(CONFIG.read_text(encoding="utf-8"))
    for receiver in config["receivers"]:
        assert set(receiver) == {"name", "webhook_configs"}
        assert all(hook["url"].startswith("http://127.0.0.1:10479/") for hook in receiver["webhook_configs"])


def test_the_ready_receivers_load_when_their_marks_are_taken_off(tmp_path: Path) -> None:
    ready = yaml.safe_load(ready_receivers())
    config = yaml.safe_load(CONFIG.read_text(encoding="utf-8"))
    names = {receiver["name"] for receiver in ready}
    config["receivers"] = [r for r in config["receivers"] if r["name"] not in names] + ready
    config["templates"] = [str(FOLDER / "templates" / "*.tmpl")]
    (tmp_path / "alertmanager.yml").write_text(yaml.safe_dump(config))
    shown = checked("amtool", "check-config", tmp_path / "alertmanager.yml")
    assert names == {"pagerduty", "slack", "opsgenie", "email", "teams", "retrain"}
    assert f"{len(config['receivers'])} receivers" in shown


def test_nothing_that_only_one_version_knows_and_no_secret_stands_in_the_file() -> None:
    for text in (CONFIG.read_text(encoding="utf-8"), ready_receivers()):
        assert not NOT_IN_025.search(text)
        assert not OLD_MATCHING.search(text)
        assert not SECRETS.search(text)


def alert(name: str, status: str = "firing", **labels: str) -> dict[str, Any]:
    return {
        "status": status,
        "labels": {"alertname": name, **labels},
        "annotations": {
            "summary": f"{name} & so on.",
            "description": "Value <1>, limit 2.",
            "runbook_url": f"http://runbooks/{name}.md",
            "dashboard_url": "http://grafana/d/ml-model?var-job=e&var-model=m",
        },
        "startsAt": "2030-01-02T03:04:05Z",
        "endsAt": "2030-01-02T04:04:05Z",
    }


def rendered(template: str, tmp_path: Path, *alerts: dict[str, Any], kind: str = "text") -> str:
    """Return one of the shipped texts for a notification of these alerts."""
    shared = set.intersection(*[set(a["labels"].items()) for a in alerts])
    data = {
        "receiver": "pages",
        "status": "firing" if any(a["status"] == "firing" for a in alerts) else "resolved",
        "alerts": alerts,
        "groupLabels": {k: v for k, v in shared if k in {"job", "model"}},
        "commonLabels": dict(shared),
        "commonAnnotations": {},
        "externalURL": "http://alertmanager",
    }
    (tmp_path / "data.json").write_text(json.dumps(data))
    shown = checked(
        "amtool",
        "template",
        "render",
        f"--template.glob={FOLDER / 'templates' / '*.tmpl'}",
        f"--template.text={{{{ template {json.dumps(template)} . }}}}",
        f"--template.type={kind}",
        f"--template.data={tmp_path / 'data.json'}",
    )
    return shown.strip("\n")


PAGE = alert("MLNoPredictions", severity="critical", job="e", model="m", team="t")
TICKET = alert("MLModelDrift", severity="warning", job="e", model="m", team="t")


def test_a_title_says_how_urgent_what_and_where(tmp_path: Path) -> None:
    exporter = alert("MLExporterDown", severity="critical", job="e")
    over = alert("MLModelDrift", status="resolved", severity="warning", job="e", model="m")
    other = alert("MLInputViolations", severity="warning", job="e", model="m")
    assert rendered("ml.title", tmp_path, PAGE) == "PAGE m: MLNoPredictions, job e"
    assert rendered("ml.title", tmp_path, exporter) == "PAGE: MLExporterDown, job e"
    assert rendered("ml.title", tmp_path, over) == "RESOLVED m: MLModelDrift, job e"
    assert rendered("ml.title", tmp_path, TICKET, other) == (
        "TICKET m: several alerts (2 firing, 0 resolved), job e"
    )
    assert rendered("ml.title", tmp_path, PAGE, over) == (
        "ALERTS m: several alerts (1 firing, 1 resolved), job e"
    )


def test_a_text_has_what_the_person_on_call_needs(tmp_path: Path) -> None:
    assert rendered("ml.text", tmp_path, PAGE).splitlines() == [
        "MLNoPredictions (critical): MLNoPredictions & so on.",
        "  Value <1>, limit 2.",
        "  Team: t",
        "  Since: 2030-01-02 03:04:05 UTC",
        "  What to do: http://runbooks/MLNoPredictions.md",
        "  Look at: http://grafana/d/ml-model?var-job=e&var-model=m",
    ]
    assert rendered("ml.text", tmp_path, PAGE, TICKET).count("What to do: ") == 2


def test_a_letter_has_working_links_and_no_markup_of_its_values(tmp_path: Path) -> None:
    hostile = alert("MLNoPredictions", severity="critical", job="e", model="<script>")
    hostile["annotations"] |= {"summary": "<b>x</b>", "runbook_url": "javascript:alert(1)"}
    letter = rendered("ml.html", tmp_path, hostile, kind="html")
    assert "<script>" not in letter
    assert "<b>x</b>" not in letter
    assert "javascript:" not in letter
    assert '<a href="http://grafana/d/ml-model?var-job=e&amp;var-model=m">Dashboard</a>' in letter
