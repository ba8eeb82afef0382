"""The rules every dashboard keeps: layout, words, variables, links, annotations."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import warnings
from itertools import combinations
from pathlib import Path
from string import ascii_uppercase
from typing import Any

import pytest
import yaml
from tests.grafana.queries import Json, dashboards, panels, query_variables
from tests.tools import REPOSITORY

ALL_DASHBOARDS = dashboards()
EVERY = pytest.mark.parametrize("name", sorted(ALL_DASHBOARDS))
PANEL_TYPES = {"timeseries", "stat", "table", "state-timeline", "bargauge", "barchart"}
INSTANT = {"stat", "table", "bargauge", "barchart"}
ALERT_NAME = re.compile(r"\bML[A-Z]\w+")
UNITS = {"none", "short", "s", "percentunit", "reqps", "cps", "bytes", "Bps", "celsius", "watt"}


def alert_rules() -> list[Json]:
    paths = sorted((REPOSITORY / "prometheus" / "rules").glob("*.yml"))
    groups = [group for path in paths for group in yaml.safe_load(path.read_text("utf-8"))["groups"]]
    return [rule for group in groups for rule in group["rules"] if "alert" in rule]


def alert_names() -> set[str]:
    return {rule["alert"] for rule in alert_rules()}


def sizes(panel: Json) -> tuple[int, int, int, int]:
    grid = panel["gridPos"]
    return grid["x"], grid["y"], grid["x"] + grid["w"], grid["y"] + grid["h"]


def lost(before: Any, after: Any, path: str = "") -> list[str]:
    """Return where `after` lacks or changes something of `before`."""
    if isinstance(before, dict) and isinstance(after, dict):
        return [line for key in before for line in lost(before[key], after.get(key), f"{path}.{key}")]
    if isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        pairs = enumerate(zip(before, after, strict=True))
        return [line for index, (old, new) in pairs for line in lost(old, new, f"{path}[{index}]")]
    return [] if before == after else [f"{path}: {before!r} became {after!r}"]


def test_the_committed_dashboards_are_what_the_builders_write(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "grafana.builders", "--output", str(tmp_path)]
    subprocess.run(command, cwd=REPOSITORY, check=True, timeout=60)
    written = {path.name: path.read_text("utf-8") for path in tmp_path.iterdir()}
    committed = (REPOSITORY / "grafana" / "dashboards").iterdir()
    assert written == {path.name: path.read_text("utf-8") for path in committed}


@EVERY
def test_every_key_is_one_that_grafanas_schema_knows(name: str) -> None:
    with warnings.catch_warnings():
        # The SDK recommends its newer kind of dashboard, which the file provider does not read.
        warnings.simplefilter("ignore", DeprecationWarning)
        from grafana_foundation_sdk.cog.encoder import JSONEncoder
        from grafana_foundation_sdk.cog.plugins import register_default_plugins
        from grafana_foundation_sdk.models.dashboard import Dashboard
    register_default_plugins()
    read = Dashboard.from_json(ALL_DASHBOARDS[name])
    assert lost(ALL_DASHBOARDS[name], json.loads(JSONEncoder().encode(read))) == []


def test_a_key_that_is_lost_is_noticed() -> None:
    assert lost({"a": [{"b": 1, "c": 2}]}, {"a": [{"b": 1}]}) == [".a[0].c: 2 became None"]


@EVERY
def test_the_frame(name: str) -> None:
    dashboard = ALL_DASHBOARDS[name]
    assert dashboard["uid"] == f"ml-{name}"
    assert dashboard["schemaVersion"] <= 42
    assert dashboard["editable"] is False
    assert "id" not in dashboard
    [link] = dashboard["links"]
    assert (link["type"], link["tags"]) == ("dashboards", dashboard["tags"])
    assert link["includeVars"]
    assert link["keepTime"]
    assert "placement" not in link


@EVERY
def test_the_variables(name: str) -> None:
    variables = {variable["name"]: variable for variable in ALL_DASHBOARDS[name]["templating"]["list"]}
    source = variables["datasource"]
    assert (source["type"], source["query"], source["label"]) == ("datasource", "prometheus", "Data source")
    for label in ("job", "instance"):
        assert variables[label]["label"] == label.capitalize()
        assert variables[label]["multi"]
        assert (variables[label]["includeAll"], variables[label]["allValue"]) == (True, ".+")
    assert "model" in variables
    for variable in query_variables(ALL_DASHBOARDS[name]):
        assert variable["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
        assert variable["refresh"] == 2, "variables refresh when the time range changes"
        assert variable["label"]
        assert variable["definition"] == variable["query"]["query"]
        assert not [key for key in variable if key.startswith("auto")]


@EVERY
def test_each_panel_asks_a_question_and_says_what_a_good_answer_is(name: str) -> None:
    alerts = alert_names()
    for panel in panels(ALL_DASHBOARDS[name]):
        text = panel["description"]
        assert panel["title"].endswith("?")
        assert text.startswith("Good: ")
        named = set(ALERT_NAME.findall(text))
        assert named <= alerts, panel["title"]
        assert bool(named) != text.endswith("No alert watches this."), panel["title"]


def test_every_alert_is_on_a_panel_that_shows_what_it_judges() -> None:
    every = [panel for dashboard in ALL_DASHBOARDS.values() for panel in panels(dashboard)]
    assert {name for panel in every for name in ALERT_NAME.findall(panel["description"])} == alert_names()


@EVERY
def test_each_panel_is_complete(name: str) -> None:
    every = panels(ALL_DASHBOARDS[name])
    assert len({panel["title"] for panel in every}) == len(every)
    for panel in every:
        assert panel["type"] in PANEL_TYPES
        assert panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
        assert panel["fieldConfig"]["defaults"]["unit"] in UNITS
        references = [target["refId"] for target in panel["targets"]]
        assert references == list(ascii_uppercase[: len(references)])
        for target in panel["targets"]:
            assert target["datasource"] == panel["datasource"]
            assert target["range"] != target["instant"]
            assert target["instant"] == (panel["type"] in INSTANT)
            assert (target.get("format") == "table") == (panel["type"] in {"table", "barchart"})
    ids = [panel["id"] for panel in ALL_DASHBOARDS[name]["panels"]]
    assert ids == list(range(1, len(ids) + 1))


@EVERY
def test_panels_lie_on_the_grid_without_overlap(name: str) -> None:
    every = ALL_DASHBOARDS[name]["panels"]
    for panel in every:
        left, _, right, _ = sizes(panel)
        assert 0 <= left < right <= 24
    for one, other in combinations(every, 2):
        (l1, t1, r1, b1), (l2, t2, r2, b2) = sizes(one), sizes(other)
        apart = r1 <= l2 or r2 <= l1 or b1 <= t2 or b2 <= t1
        assert apart, f"{one['title']} lies on {other['title']}"


@EVERY
def test_a_panel_is_wide_enough_to_be_read_at_1280_pixels(name: str) -> None:
    widths = {panel["title"]: panel["gridPos"]["w"] * 1280 / 24 for panel in panels(ALL_DASHBOARDS[name])}
    assert [title for title, width in widths.items() if width < 200] == []
    graphs = [panel for panel in panels(ALL_DASHBOARDS[name]) if panel["type"] == "timeseries"]
    assert [panel["title"] for panel in graphs if widths[panel["title"]] < 420] == []


@EVERY
def test_a_tables_columns_fit_at_1280_pixels(name: str) -> None:
    for panel in panels(ALL_DASHBOARDS[name]):
        columns = panel.get("transformations", [{"options": {}}])[-1]["options"].get("indexByName", {})
        least = panel["fieldConfig"]["defaults"].get("custom", {}).get("minWidth", 150)
        properties = [one for o in panel["fieldConfig"]["overrides"] for one in o["properties"]]
        fixed = [one["value"] for one in properties if one["id"] == "custom.width"]
        # A panel that is repeated has half of the line where two metrics are chosen.
        share = panel["gridPos"]["w"] / 24 / panel.get("maxPerRow", 1)
        # The page's own margins and the panel's take 40 pixels, a scroll bar 10.
        left = (1280 - 40) * share - 10 - sum(fixed) - least * (len(columns) - len(fixed))
        assert left >= 0, panel["title"]


@EVERY
def test_a_repeated_panel_has_its_line_for_itself(name: str) -> None:
    for panel in panels(ALL_DASHBOARDS[name]):
        if "repeat" in panel:
            assert (panel["gridPos"]["x"], panel["gridPos"]["w"]) == (0, 24), panel["title"]


@EVERY
def test_a_panel_without_data_says_something_and_empty_cells_nothing(name: str) -> None:
    for panel in panels(ALL_DASHBOARDS[name]):
        why = panel["fieldConfig"]["defaults"]["noValue"]
        assert why, panel["title"]
        # What has no room for a sentence shows a word.
        assert why.endswith((".", "?")) or panel["type"] in {"stat", "bargauge"}, panel["title"]
        if panel["type"] == "table":
            first = panel["fieldConfig"]["overrides"][0]
            assert first["matcher"]["id"] == "byRegexp"
            assert first["properties"] == [{"id": "noValue", "value": ""}]


@EVERY
def test_no_threshold_but_the_alerts_own(name: str) -> None:
    """Limits come from Prometheus as series; a fixed step may only tell none from some, or a ratio of 1."""
    for panel in panels(ALL_DASHBOARDS[name]):
        config = panel["fieldConfig"]
        overrides = [entry for override in config["overrides"] for entry in override["properties"]]
        every = [
            config["defaults"]["thresholds"],
            *(o["value"] for o in overrides if o["id"] == "thresholds"),
        ]
        for thresholds in every:
            assert [step["value"] for step in thresholds["steps"]] in ([None], [None, 1])


@EVERY
def test_overrides_and_sorting_name_what_is_there(name: str) -> None:
    for panel in panels(ALL_DASHBOARDS[name]):
        references = {target["refId"] for target in panel["targets"]}
        [*_, last] = panel.get("transformations") or [{"options": {}}]
        renamed = set(last["options"].get("renameByName", {}).values())
        for override in panel["fieldConfig"]["overrides"]:
            kinds = {"byFrameRefID": references, "byName": renamed, "byRegexp": {"/.*/"}}
            known = kinds[override["matcher"]["id"]]
            assert override["matcher"]["options"] in known, panel["title"]
        matrix = "\\".join(last["options"].get(key, "") for key in ("rowField", "columnField"))
        for order in panel["options"].get("sortBy", ()):
            assert order["displayName"] in renamed | {matrix}, panel["title"]


@EVERY
def test_a_joined_table_shows_each_of_its_queries(name: str) -> None:
    for panel in panels(ALL_DASHBOARDS[name]):
        steps = {step["id"]: step["options"] for step in panel.get("transformations", ())}
        if "merge" in steps:
            shown = {
                field for field in steps["filterFieldsByName"]["include"]["names"] if field[:7] == "Value #"
            }
            silent = {f"Value #{target['refId']}" for target in panel["targets"]} - shown
            # The first query of the fleet and of the versions only brings the rows and their labels.
            assert silent <= {"Value #A", "Value #B"}, panel["title"]


@EVERY
def test_the_annotations(name: str) -> None:
    annotations = {
        annotation["name"]: annotation for annotation in ALL_DASHBOARDS[name]["annotations"]["list"]
    }
    assert set(annotations) == {"Firing alerts", "New model version", "Config load"}
    for annotation in annotations.values():
        assert annotation["enable"]
        assert annotation["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
        assert annotation["titleFormat"]
        assert "placement" not in annotation
    assert annotations["Config load"]["useValueForTime"]


def test_no_file_tells_of_one_machine() -> None:
    for path in (REPOSITORY / "grafana").rglob("*"):
        if path.suffix in {".json", ".yml", ".py"}:
            assert not re.search(r"/(home|work|root|tmp)/", path.read_text("utf-8")), path
