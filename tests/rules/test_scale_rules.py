"""Times are divided by one factor; nothing else changes."""

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import promql_parser
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from prometheus.scale_rules import (
    Scale,
    as_duration,
    milliseconds,
    scale_alertmanager,
    scale_expression,
    scale_prometheus,
    scale_rules,
    write_scaled,
)
from tests.rules.bundle import PROMETHEUS, RULES, load, rules
from tests.tools import REPOSITORY, find_tool

ALERTMANAGER = REPOSITORY / "alertmanager"
SIXTIETH = Scale(60)
DURATION = re.compile(r"(?<![\w.])(?:\d+(?:ms|[smhdwy]))+(?![\w.])")
TEXT = re.compile(r'"[^"]*"')
TIMES = {"for", "keep_firing_for", "interval", "group_wait", "group_interval", "repeat_interval"}
TIMES |= {"scrape_interval", "evaluation_interval"}


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("rate(x_total[1h])", "rate(x_total[1m])"),
        ("x offset 1h > 60", "x offset 1m > 60"),
        ("x offset -2h", "x offset -2m"),
        ("max_over_time(x[1d:5m])", "max_over_time(x[24m:5s])"),
        ("max_over_time(x[6h:] offset 1h)", "max_over_time(x[6m:] offset 1m)"),
        ("rate(x[1h30m])", "rate(x[1m30s])"),
        ("rate(x[30s])", "rate(x[500ms])"),
        ("rate(x[5m] @ 3600)", "rate(x[5s] @ 3600)"),
        ('x{window="1h", path=~"a[5m]b"} > 3600', 'x{window="1h", path=~"a[5m]b"} > 3600'),
        ("x{a='5m',b=`[1h]`}", "x{a='5m',b=`[1h]`}"),
        ("job_model:ml_labels:increase1h / 0x1d > 1e3", "job_model:ml_labels:increase1h / 0x1d > 1e3"),
        (":ml:rate5m > .5", ":ml:rate5m > .5"),
        ("x > 5 # within [5m]\n  and y[1h]", "x > 5 # within [5m]\n  and y[1m]"),
        ('x{a="\\"[5m]"} and rate(y[5m])', 'x{a="\\"[5m]"} and rate(y[5s])'),
        ("predict_linear(x[6h], 86400) < 0", "predict_linear(x[6m], 86400) < 0"),
    ],
)
def test_ranges_steps_and_offsets_are_divided(before: str, after: str) -> None:
    assert scale_expression(before, SIXTIETH) == after


def test_a_range_keeps_a_few_scrapes_but_never_grows() -> None:
    scale = Scale(60, minimum_range=20_000)
    assert scale_expression("rate(x[5m]) / rate(x[10s]) > y offset 5m", scale) == (
        "rate(x[20s]) / rate(x[10s]) > y offset 5s"
    )


@given(st.integers(1, 10**12))
def test_a_duration_is_read_back_as_it_was_written(total: int) -> None:
    assert milliseconds(as_duration(total)) == total


@pytest.mark.parametrize("wrong", ["", "5", "m", "5 m", "-5m", "1.5h", "5mm"])
def test_what_is_no_duration_is_refused(wrong: str) -> None:
    with pytest.raises(ValueError, match="not a duration"):
        milliseconds(wrong)


def difference(before: Any, after: Any, path: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    """Return where two documents differ, as paths of keys; positions in lists are left out."""
    if isinstance(before, dict) and isinstance(after, dict):
        assert list(before) == list(after)
        return [d for key in before for d in difference(before[key], after[key], (*path, key))]
    if isinstance(before, list) and isinstance(after, list):
        assert len(before) == len(after)
        return [d for a, b in zip(before, after, strict=True) for d in difference(a, b, path)]
    return [] if before == after else [path]


@pytest.mark.parametrize("path", RULES, ids=lambda path: path.stem)
def test_nothing_but_times_and_expressions_of_the_shipped_rules_changes(path: Path) -> None:
    before = load(path)
    changed = {place[-1] for place in difference(before, scale_rules(before, SIXTIETH))}
    assert changed <= TIMES | {"expr"}
    assert "for" in changed
    assert scale_rules(before, Scale(1)) == before


@pytest.mark.parametrize("rule", rules(), ids=lambda rule: rule.get("alert") or rule["record"])
def test_a_shipped_expression_differs_in_durations_only(rule: dict[str, Any]) -> None:
    before, after = rule["expr"], scale_expression(rule["expr"], SIXTIETH)
    assert DURATION.sub("D", after) == DURATION.sub("D", before)
    shown = [DURATION.sub("D", promql_parser.parse(text).prettify()).split() for text in (before, after)]
    # Where lines break depends on their length.
    assert "".join(shown[0]) == "".join(shown[1])
    lengths = [[milliseconds(d) for d in DURATION.findall(TEXT.sub("", e))] for e in (before, after)]
    assert [length / 60 for length in lengths[0]] == lengths[1]


def test_nothing_but_intervals_of_the_configurations_changes() -> None:
    prometheus, alertmanager = load(PROMETHEUS / "prometheus.yml"), load(ALERTMANAGER / "alertmanager.yml")
    places = difference(prometheus, scale_prometheus(prometheus, SIXTIETH))
    assert places == [("global", "scrape_interval"), ("global", "evaluation_interval")]
    changed = difference(alertmanager, scale_alertmanager(alertmanager, SIXTIETH))
    assert {place[0] for place in changed} == {"route"}
    assert {place[-1] for place in changed} == {"group_wait", "group_interval", "repeat_interval"}


def test_intervals_of_jobs_and_groups_are_scaled_down_to_the_least() -> None:
    scale = Scale(60, minimum_interval=5000)
    config = {"global": {"scrape_interval": "15s"}, "scrape_configs": [{"scrape_interval": "10m"}]}
    assert scale_prometheus(config, scale) == {
        "global": {"scrape_interval": "5s"},
        "scrape_configs": [{"scrape_interval": "10s"}],
    }
    group = {"name": "g", "interval": "1m", "rules": [{"record": "a", "expr": "b[1m]", "for": "0s"}]}
    scaled = scale_rules({"groups": [group]}, scale)["groups"][0]
    assert scaled == {
        "name": "g",
        "interval": "5s",
        "rules": [{"record": "a", "expr": "b[1s]", "for": "0s"}],
    }


def test_routes_never_notify_more_than_once_a_second() -> None:
    route = {"group_wait": "30s", "routes": [{"repeat_interval": "1h", "routes": [{"group_interval": "5m"}]}]}
    assert scale_alertmanager({"route": route}, SIXTIETH)["route"] == {
        "group_wait": "1s",
        "routes": [{"repeat_interval": "1m", "routes": [{"group_interval": "5s"}]}],
    }


def test_the_program_writes_a_configuration_that_loads(tmp_path: Path) -> None:
    script = PROMETHEUS / "scale_rules.py"
    subprocess.run([sys.executable, script, "--factor", "60", "--out", tmp_path], check=True, timeout=30)
    config = tmp_path / "prometheus" / "prometheus.yml"
    assert yaml.safe_load(config.read_text())["global"]["scrape_interval"] == "5s"
    written = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*.*")}
    assert {f"prometheus/rules/{path.name}" for path in RULES} <= written
    checks = (
        (find_tool("promtool"), "check", "config", config),
        (find_tool("amtool"), "check-config", tmp_path / "alertmanager" / "alertmanager.yml"),
    )
    for command in checks:
        subprocess.run(command, check=True, timeout=30, capture_output=True)


def test_ranges_of_the_demo_hold_four_scrapes(tmp_path: Path) -> None:
    write_scaled(REPOSITORY, tmp_path, Scale(3600, minimum_interval=5000), minimum_scrapes=4)
    texts = [path.read_text() for path in (tmp_path / "prometheus" / "rules").glob("*.yml")]
    ranges = [r for text in texts for r in re.findall(r"_(?:bytes|total|info)(?:\{[^}]*\})?\[(\w+)\]", text)]
    assert len(ranges) >= 4
    assert min(milliseconds(length) for length in ranges) == 20_000
