"""Where clicks and alerts lead: to dashboards that exist, set to what was clicked."""

from __future__ import annotations

import json
import re

import pytest
from tests.grafana.queries import LEGEND_LABEL, dashboards, panels
from tests.rules.bundle import alerts

ALL_DASHBOARDS = dashboards()
EVERY = pytest.mark.parametrize("name", sorted(ALL_DASHBOARDS))
DRILLS = [
    ("fleet", "Which model needs attention first?", {"ml-model", "ml-drift", "ml-serving"}),
    ("fleet", "Which exporter needs attention first?", {"ml-exporter", "ml-serving"}),
    ("fleet", "Which alerts fire now?", {"ml-model"}),
    ("fleet", "What is wrong with exporters and hosts?", {"ml-exporter"}),
    ("model", "Which columns fail which input check?", {"ml-drift"}),
    ("model", "Which versions are there, and who owns the model?", {"ml-model"}),
    ("model", "What does every metric say now, and how surely?", {"ml-model"}),
    ("model", "Which version is best, and how surely?", {"ml-model"}),
    ("serving", "Which processes run, and since when?", {"ml-serving"}),
    ("serving", "Which disk is full first, and when?", {"ml-serving"}),
    ("drift", "What does every method say of every column?", {"ml-drift"}),
    ("serving", "Which model runs where, and how does it do there?", {"ml-model", "ml-serving"}),
    ("exporter", "Which models lack most statistics?", {"ml-model"}),
]


def test_links_in_alerts_lead_to_dashboards_and_choose_what_they_let_choose() -> None:
    choices = {
        dashboard["uid"]: {variable["name"] for variable in dashboard["templating"]["list"]}
        for dashboard in ALL_DASHBOARDS.values()
    }
    for rule in alerts():
        url = rule["annotations"]["dashboard_url"]
        [uid] = re.findall(r"/d/([\w-]+)", url)
        assert set(re.findall(r"\bvar-(\w+)=", url)) <= choices[uid], rule["alert"]


@EVERY
def test_links_lead_to_dashboards_that_exist_and_use_fields_that_do(name: str) -> None:
    uids = {dashboard["uid"] for dashboard in ALL_DASHBOARDS.values()}
    for panel in panels(ALL_DASHBOARDS[name]):
        properties = [one for o in panel["fieldConfig"]["overrides"] for one in o["properties"]]
        links = [link for one in properties if one["id"] == "links" for link in one["value"]]
        fields = {
            field
            for step in panel.get("transformations", ())
            for field in step["options"].get("include", {}).get("names", ())
        }
        for link in links:
            assert set(re.findall(r"^/d/([\w-]+)\?", link["url"])) & uids, panel["title"]
            assert set(re.findall(r"__data\.fields\.(\w+)", link["url"])) <= fields
            assert "${__url_time_range}" in link["url"]
            assert "var-datasource=${datasource}" in link["url"]


@pytest.mark.parametrize(
    ("name", "title", "uids"),
    DRILLS,
    ids=lambda value: str(sorted(value) if isinstance(value, set) else value)[:20],
)
def test_each_cell_of_an_overview_leads_to_what_explains_it(name: str, title: str, uids: set[str]) -> None:
    [table] = [panel for panel in panels(ALL_DASHBOARDS[name]) if panel["title"] == title]
    links = {
        override["matcher"]["options"]: one["value"][0]["url"]
        for override in table["fieldConfig"]["overrides"]
        for one in override["properties"]
        if one["id"] == "links"
    }
    assert set(links) == set(table["transformations"][-1]["options"]["renameByName"].values())
    assert {url.split("?")[0] for url in links.values()} == {f"/d/{uid}" for uid in uids}


@EVERY
def test_a_series_leads_on_by_labels_that_it_has(name: str) -> None:
    for panel in panels(ALL_DASHBOARDS[name]):
        if panel["type"] != "table":
            legends = {label for t in panel["targets"] for label in LEGEND_LABEL.findall(t["legendFormat"])}
            used = set(re.findall(r"__field\.labels\.(\w+)", json.dumps(panel["fieldConfig"]["overrides"])))
            # What tells series apart is in the legend; the states of models have their job as well.
            assert used <= legends | {"job"}, panel["title"]
