"""When an alert fires, from the times at which its condition holds; and which limits it is tried with."""

from __future__ import annotations

import pytest
from prometheus.alert_table import alerts

from ml_exporter.suggest.backtest import backtest, episodes, expanded, look_every, with_limits_of
from ml_exporter.suggest.prometheus import AlertRule, PrometheusError, Rules, Series, selector


def looks(*spans: tuple[int, int]) -> list[float]:
    """Return every fifth second of spans, ends included."""
    return [float(moment) for first, last in spans for moment in range(first, last + 1, 5)]


@pytest.mark.parametrize(
    ("times", "expected"),
    [
        ([], []),
        (looks((0, 10)), []),
        (looks((0, 15)), [(15, 15)]),
        (looks((0, 100)), [(15, 100)]),
        # A gap of less than a look and a half is none.
        ([0.0, 5.0, 12.0, 17.0], [(17, 17)]),
        (looks((0, 10), (20, 30)), []),
        # Once it fires it goes on through gaps as long as it is kept firing.
        (looks((0, 30), (50, 55)), [(15, 55)]),
        (looks((0, 30), (60, 65)), [(15, 30)]),
        (looks((0, 30), (60, 80)), [(15, 30), (75, 80)]),
    ],
)
def test_an_alert_fires_once_it_has_waited(times: list[float], expected: list[tuple[float, float]]) -> None:
    assert list(episodes(times, 5, wait=15, keep_firing=20)) == expected


def test_without_waiting_it_fires_at_once() -> None:
    assert list(episodes([0.0, 5.0, 100.0], 5, wait=0, keep_firing=0)) == [(0, 5), (100, 100)]


@pytest.mark.parametrize(("wait", "step"), [(0, 15), (60, 20), (900, 300), (7_200, 300)])
def test_a_wait_is_looked_at_several_times(wait: float, step: float) -> None:
    assert look_every(AlertRule("A", "up", wait, 0, "")) == step


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        ("ml_quality_upper < ml_quality_target", "ml_quality_upper < ml_quality_target @ 7.000"),
        ('ml_quality_target{bound="}\\"min"} > 1', 'ml_quality_target{bound="}\\"min"} @ 7.000 > 1'),
        ("max by (model) (ml_drift_limit)", "max by (model) (ml_drift_limit @ 7.000)"),
        ("ml_label_delay_limit_seconds", "ml_label_delay_limit_seconds @ 7.000"),
        ("1 - ml_slo_objective_ratio", "1 - ml_slo_objective_ratio @ 7.000"),
        ("ml_drift_limit[5m]", "ml_drift_limit[5m]"),
        ("job:ml_drift_limit:max", "job:ml_drift_limit:max"),
        ("a_ml_drift_limit", "a_ml_drift_limit"),
        ("ml_drift_limits", "ml_drift_limits"),
    ],
)
def test_limits_are_todays(condition: str, expected: str) -> None:
    assert with_limits_of(condition, 7.0) == expected


def test_every_limit_in_the_shipped_alerts_is_found() -> None:
    from promql_parser import parse

    for _, rule in alerts():
        changed = with_limits_of(rule["expr"], 7.0)
        parse(changed)
        for name in ("ml_quality_target", "ml_drift_limit", "ml_calibration_error_limit"):
            assert rule["expr"].count(name) <= changed.count("@ 7.000")


RECORDS = {"level:a:sum": "sum(a)", "job:b:rate1h": "rate(b[1h])"}


def test_what_was_not_recorded_is_replaced_by_its_rule() -> None:
    assert (
        expanded("level:a:sum / x:level:a:sum > 1", "level:a:sum", RECORDS) == "(sum(a)) / x:level:a:sum > 1"
    )


@pytest.mark.parametrize("condition", ["level:a:sum[5m]", 'level:a:sum {job="a"}', "other:a:sum"])
def test_or_cannot_be(condition: str) -> None:
    name = "other:a:sum" if condition.startswith("other") else "level:a:sum"
    with pytest.raises(PrometheusError, match=f"{name} was not recorded"):
        expanded(condition, name, RECORDS)


def test_names_of_models_cannot_break_out_of_a_selector() -> None:
    assert selector("a", model='m"} or b{x="') == 'a{model="m\\"} or b{x=\\""}'


class Recorded:
    """A Prometheus that has these series, and the rules that a test gives it; it remembers what is asked."""

    def __init__(self, series: set[str], records: dict[str, str], *conditions: str) -> None:
        self._series, self._records, self._conditions = series, records, conditions
        self.asked: list[str] = []

    def rules(self) -> Rules:
        alerts = tuple(AlertRule(f"ML{n}", text, 0, 0, "") for n, text in enumerate(self._conditions))
        return Rules(alerts, self._records)

    def at(self, query: str, _moment: float) -> list[Series]:
        return [Series({}, ((0.0, 1.0),))] if any(f"({name}[" in query for name in self._series) else []

    def between(self, query: str, *_: float) -> list[Series]:
        self.asked.append(query)
        if "broken" in query:
            raise PrometheusError("Prometheus: parse error")
        return [Series({"model": "m"}, ((5.0, 1.0),))] if "fires" in query else []


def tried(prometheus: Recorded) -> list[tuple[int, str]]:
    """Return how often each alert would have fired, or why that cannot be told."""
    found = backtest(prometheus, ["m"], 0, 100)["m"]
    return [(len(verdict.firings), verdict.unjudged) for verdict in found]


def test_alerts_are_tried_one_by_one_and_those_about_models_only() -> None:
    prometheus = Recorded(set(), {}, "model_fires", "up == 0", "model_broken", "model_quiet")
    assert tried(prometheus) == [(1, ""), (0, "Prometheus: parse error"), (0, "")]


def test_what_was_recorded_is_taken_as_it_is() -> None:
    prometheus = Recorded({"model:a:b"}, {"model:a:b": "(raw)"}, "model:a:b > 1")
    assert (tried(prometheus), prometheus.asked) == ([(0, "")], ["model:a:b > 1"])


def test_what_was_not_is_computed_through_all_of_its_rules() -> None:
    records = {"model:a:b": "(model:c:d > 1)", "model:c:d": "(raw or ml_x_limit)"}
    prometheus = Recorded(set(), records, "model:a:b > 1")
    assert tried(prometheus) == [(0, "")]
    assert prometheus.asked == ["((((raw or ml_x_limit @ 100.000)) > 1)) > 1"]


def test_what_only_shows_what_is_wrong_may_be_absent() -> None:
    prometheus = Recorded({"model:c:d"}, {"model:a:b": "(model:c:d > 1)"}, 'model:a:b{window="1h"} > 1')
    assert (tried(prometheus), prometheus.asked) == ([(0, "")], ['model:a:b{window="1h"} > 1'])


def test_what_cannot_be_computed_is_said() -> None:
    records = {"model:a:b": "(raw)", "model:c:d": "(model:e:f)", "model:e:f": "(model:c:d)"}
    prometheus = Recorded(set(), records, "rate(model:a:b[5m])", 'ALERTS{model="m"}', "model:c:d")
    assert [why for _, why in tried(prometheus)] == [
        "model:a:b was not recorded",
        "ALERTS was not recorded",
        "its recording rules need each other",
    ]
    assert prometheus.asked == []
