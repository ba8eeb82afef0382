"""The rules every query keeps: it parses, names families that exist, and stays in the reader's choice."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache

import promql_parser
import pytest
import yaml
from tests.grafana.queries import EMPTY_ON_A_CALM_DEMO, Query, dashboards, names, queries, substitute
from tests.tools import REPOSITORY

from ml_exporter.metrics.catalogue import CATALOGUE, RETRAINING

KINDS = {entry.name: entry.kind for entry in CATALOGUE}
LABELS = {entry.name: set(entry.labels) for entry in CATALOGUE}
HOOKS = {entry.name for entry in RETRAINING}
SCRAPED = {"job", "instance", "le"}
ALERT_LABELS = {"alertname", "alertstate", "severity", "model"}
COUNTER_FUNCTIONS = {"rate", "irate", "increase"}
RECORDED = {
    rule["record"]
    for path in (REPOSITORY / "prometheus" / "rules").glob("*.yml")
    for group in yaml.safe_load(path.read_text("utf-8"))["groups"]
    for rule in group["rules"]
    if "record" in rule
}
INTERVALS = {"__rate_interval": "4m", "__range": "3h"}
CHOICES = dict.fromkeys(
    ("job", "instance", "model", "version", "window", "metric", "method", "column", "process"), "x"
)

ALL_QUERIES = [query for dashboard in dashboards().values() for query in queries(dashboard)]
EVERY = pytest.mark.parametrize("query", ALL_QUERIES, ids=lambda query: query.name)


@cache
def parse(query: Query) -> promql_parser.Expr:
    return promql_parser.parse(substitute(query.expr, INTERVALS | {name: f"<{name}>" for name in CHOICES}))


def nodes(expr: promql_parser.Expr) -> list[promql_parser.Expr]:
    found: list[promql_parser.Expr] = []
    promql_parser.walk(expr, found.append)
    return found


def selectors(query: Query) -> Iterator[tuple[str, dict[str, list[str]]]]:
    """Yield each selector's metric and its matchers' values by label."""
    for node in nodes(parse(query)):
        if isinstance(node, promql_parser.VectorSelector):
            values: dict[str, list[str]] = {}
            for matcher in node.matchers.matchers:
                values.setdefault(matcher.name, []).append(matcher.value)
            yield node.name or "", values


def family(metric: str) -> str:
    """Return the family of a series' name: that of a histogram's bucket is the histogram."""
    for ending in ("_bucket", "_sum", "_count"):
        if KINDS.get(metric.removesuffix(ending)) == "histogram":
            return metric.removesuffix(ending)
    return metric


def test_there_is_something_to_check() -> None:
    assert len(ALL_QUERIES) >= 100


@EVERY
def test_it_parses(query: Query) -> None:
    assert parse(query)


@EVERY
def test_each_selector_keeps_to_the_chosen_job_and_instance(query: Query) -> None:
    choice = query.name.split(": variable ")[-1]
    for metric, matchers in selectors(query):
        if metric == "ALERTS" and matchers.get("alertname") == ["MLWatchdog"]:
            continue  # it belongs to no job: it says that the rules run
        if choice == "job":
            continue  # nothing is chosen yet
        if metric in HOOKS:
            # It is a process of its own, which nobody chooses here.
            assert (matchers["job"], matchers["instance"]) == (["<job>|ml_hook.*"], ["<instance>|.+"])
            continue
        assert "<job>" in matchers["job"], metric
        if choice != "instance":
            # An alert on something that is gone has no instance: the empty alternative lets it pass.
            assert matchers["instance"] == ["<instance>|" if metric == "ALERTS" else "<instance>"], metric


@EVERY
def test_each_selector_of_a_model_keeps_to_the_chosen_model(query: Query) -> None:
    if ": variable model" in query.name:
        return
    for metric, matchers in selectors(query):
        if metric in RECORDED or "model" in LABELS.get(family(metric), ()):
            assert matchers["model"] == ["<model>"], metric


@EVERY
def test_metrics_and_labels_are_in_the_catalogue(query: Query) -> None:
    for metric, matchers in selectors(query):
        if metric == "ALERTS":
            assert set(matchers) <= ALERT_LABELS | SCRAPED
        elif ":" in metric:
            assert metric in RECORDED, metric
        elif metric != "up":
            assert family(metric) in KINDS, metric
            assert set(matchers) <= LABELS[family(metric)] | SCRAPED, metric


@EVERY
def test_counters_only_inside_rate_or_increase(query: Query) -> None:
    inside: list[str] = []
    for node in nodes(parse(query)):
        if isinstance(node, promql_parser.Call) and node.func.name in COUNTER_FUNCTIONS:
            inside += [s.name or "" for s in nodes(node) if isinstance(s, promql_parser.VectorSelector)]
    cumulative = [name for name, _ in selectors(query) if KINDS.get(family(name)) in {"counter", "histogram"}]
    assert sorted(cumulative) == sorted(inside)


@EVERY
def test_rates_use_the_rate_interval(query: Query) -> None:
    for text in query.expr.split("rate(")[1:]:
        assert "[$__rate_interval]" in text


@EVERY
def test_nothing_that_only_prometheus_3_knows(query: Query) -> None:
    for call in ("info(", "limitk(", "limit_ratio(", "mad_over_time(", "sort_by_label(", "histogram_avg("):
        assert call not in query.expr


def test_the_queries_that_are_empty_on_a_calm_demo_exist() -> None:
    assert set(EMPTY_ON_A_CALM_DEMO) <= names()


def test_a_variable_without_a_value_is_noticed() -> None:
    with pytest.raises(AssertionError, match="without a value"):
        substitute('up{job=~"$job"}', {"instance": "x"})
