"""Grafana's provisioning: one data source and one folder of dashboards, by fixed names."""

from __future__ import annotations

import re
from typing import Any

import yaml
from tests.grafana.queries import dashboards
from tests.tools import REPOSITORY

PROVISIONING = REPOSITORY / "grafana" / "provisioning"


def load(name: str) -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load((PROVISIONING / name).read_text("utf-8"))
    return loaded


def test_the_data_source_is_the_one_that_dashboards_choose_first() -> None:
    [source] = load("datasources/prometheus.yml")["datasources"]
    assert (source["type"], source["access"], source["isDefault"]) == ("prometheus", "proxy", True)
    assert source["url"] == "$ML_PROMETHEUS_URL"
    assert source["editable"] is False
    for dashboard in dashboards().values():
        [chosen] = [v["current"] for v in dashboard["templating"]["list"] if v["name"] == "datasource"]
        assert (chosen["value"], chosen["text"]) == (source["uid"], source["name"])


def test_the_rate_interval_is_made_from_the_scrape_interval() -> None:
    scrape = yaml.safe_load((REPOSITORY / "prometheus" / "prometheus.yml").read_text("utf-8"))["global"]
    [source] = load("datasources/prometheus.yml")["datasources"]
    assert source["jsonData"]["timeInterval"] == scrape["scrape_interval"]


def test_dashboards_come_from_files_and_cannot_be_changed_in_the_browser() -> None:
    [provider] = load("dashboards/ml.yml")["providers"]
    assert provider["type"] == "file"
    assert provider["allowUiUpdates"] is False
    path = provider["options"]["path"].replace("$GF_PATHS_PROVISIONING", str(PROVISIONING))
    found = sorted(file.stem for file in (REPOSITORY / path).resolve().glob("*.json"))
    assert found == sorted(dashboards()) == ["drift", "exporter", "fleet", "model", "serving"]


def test_the_containers_folders_are_as_the_provider_expects() -> None:
    compose = yaml.safe_load((REPOSITORY / "docker-compose.yml").read_text("utf-8"))
    grafana = compose["services"]["grafana"]
    assert "ML_PROMETHEUS_URL" in grafana["environment"]
    folder = grafana["environment"]["GF_PATHS_PROVISIONING"].rsplit("/", 1)[0]
    assert f"./grafana/dashboards:{folder}/dashboards:ro" in grafana["volumes"]
    assert f"./grafana/provisioning:{folder}/provisioning:ro" in grafana["volumes"]


def test_the_fleet_is_the_home() -> None:
    compose = yaml.safe_load((REPOSITORY / "docker-compose.yml").read_text("utf-8"))
    home = compose["services"]["grafana"]["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]
    assert home == "/etc/grafana/dashboards/fleet.json"
    assert dashboards()["fleet"]["uid"] == "ml-fleet"


def test_the_readme_names_every_dashboard() -> None:
    section = (REPOSITORY / "README.md").read_text("utf-8").split("\n## Dashboards\n")[1].split("\n## ")[0]
    named = re.findall(r"^\| [\w ]+ \(`([\w-]+)`\) \|", section, re.MULTILINE)
    assert sorted(named) == sorted(dashboard["uid"] for dashboard in dashboards().values())
