"""What a page shows to be wrong with a model's champion, by the same comparisons as the alerts' rules."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

from ml_exporter.hook.page import Labels, Page

Kind = Literal["quality", "concept", "drift", "drifted_columns", "multivariate", "calibration", "age"]

# An alert of these names asks because of one thing; any other is confirmed by whatever is wrong.
KINDS: MappingProxyType[str, Kind] = MappingProxyType(
    {
        "MLQualityBelowTarget": "quality",
        "MLQualityAboveTarget": "quality",
        "MLConceptDrift": "concept",
        "MLColumnDrift": "drift",
        "MLModelDrift": "drift",
        "MLPredictionDrift": "drift",
        "MLLabelDrift": "drift",
        "MLManyColumnsDrifted": "drifted_columns",
        "MLMultivariateDrift": "multivariate",
        "MLCalibrationOff": "calibration",
        "MLModelOld": "age",
    }
)
# What an alert's labels can say of the series that it looked at.
_SERIES_LABELS = ("version", "window", "metric", "column", "method", "reference", "detector", "subject")
_DRIFT_STATE = 2
# Columns that are no features.
_ANSWERS = ("score", "prediction", "label")


@dataclass(frozen=True)
class Breach:
    """A series that is beyond its limit; `labels` are the series'."""

    kind: Kind
    labels: Labels
    value: float
    limit: float

    def explains(self, alert: Labels) -> bool:
        """Tell whether this is what the alert is about, as far as its labels say."""
        wanted = KINDS.get(alert.get("reason", alert.get("alertname", "")), self.kind)
        told = {name: alert[name] for name in _SERIES_LABELS if name in alert}
        return wanted == self.kind and told.items() <= self.labels.items()


@dataclass(frozen=True)
class _Comparison:
    kind: Kind
    value: str
    limit: str
    bound: Literal["min", "max"] = "max"
    noise: str | None = None


_COMPARISONS = (
    _Comparison("quality", "ml_quality_upper", "ml_quality_target", "min"),
    _Comparison("quality", "ml_quality_lower", "ml_quality_target", "max"),
    _Comparison("drift", "ml_drift", "ml_drift_limit", noise="ml_drift_noise"),
    _Comparison("drifted_columns", "ml_drifted_columns_ratio", "ml_drifted_columns_limit"),
    _Comparison(
        "multivariate",
        "ml_multivariate_drift",
        "ml_multivariate_drift_limit",
        noise="ml_multivariate_drift_noise",
    ),
    _Comparison(
        "calibration",
        "ml_calibration_error",
        "ml_calibration_error_limit",
        noise="ml_calibration_error_noise",
    ),
)


def breaches(page: Page, model: str) -> tuple[Breach, ...]:
    """Return what is beyond its limit of the model's champion; nothing where there is none."""
    version = page.champion(model)
    if version is None:
        return ()
    compared = (found for rule in _COMPARISONS for found in _compared(page, rule, model, version))
    return (*compared, *_concept(page, model, version), *_age(page, model, version))


def top_columns(
    page: Page, model: str, version: str, found: Iterable[Breach] = (), number: int = 3
) -> list[tuple[str, float | None, float | None]]:
    """Return the features that matter most with the impact of their drift and how many times its limit it is.

    Those in breach come first, then those of most impact.
    """
    drifted = {breach.labels["column"] for breach in found if breach.kind == "drift"}
    impacts: dict[str, float] = {}
    for labels, value in page.of("ml_drift_impact", model=model, version=version):
        impacts[labels["column"]] = max(value, impacts.get(labels["column"], -math.inf))
    ratios: dict[str, float] = {}
    limit_of = _limits(page, "ml_drift_limit", model)
    for labels, value in page.of("ml_drift", model=model, version=version):
        limit = limit_of(labels)
        if limit:
            ratios[labels["column"]] = max(value / limit, ratios.get(labels["column"], 0.0))
    names = sorted(
        (impacts.keys() | ratios.keys()).difference(_ANSWERS),
        key=lambda name: (name not in drifted, -impacts.get(name, 0.0), -ratios.get(name, 0.0), name),
    )
    return [(name, impacts.get(name), ratios.get(name)) for name in names[:number]]


def _compared(page: Page, rule: _Comparison, model: str, version: str) -> Iterator[Breach]:
    limit_of = _limits(page, rule.limit, model, rule.bound)
    noises = {frozenset(labels.items()): noise for labels, noise in page.of(rule.noise or "", model=model)}
    for labels, value in page.of(rule.value, model=model, version=version):
        limit = limit_of(labels)
        if limit is None or not (value < limit if rule.bound == "min" else value > limit):
            continue
        # Without its noise a distance raises no alarm, as in the rules.
        if rule.noise is None or value > noises.get(frozenset(labels.items()), math.inf):
            yield Breach(rule.kind, labels, value, limit)


def _limits(page: Page, family: str, model: str, bound: str = "max") -> Callable[[Labels], float | None]:
    """Return what finds the limit of a series: the one whose labels the series has all of."""
    found = [
        ({name: text for name, text in labels.items() if name != "bound"}, limit)
        for labels, limit in page.of(family, model=model)
        if labels.get("bound", bound) == bound
    ]
    names = tuple(found[0][0]) if found else ()
    by_labels = {tuple(labels[name] for name in names): limit for labels, limit in found}
    return lambda labels: by_labels.get(tuple(labels.get(name, "") for name in names))


def _concept(page: Page, model: str, version: str) -> Iterator[Breach]:
    # The detector that bounds its false alarms.
    states = page.of("ml_concept_drift_state", model=model, version=version, detector="ecusum")
    for labels, state in states:
        if state >= _DRIFT_STATE:
            yield Breach("concept", labels, state, _DRIFT_STATE)


def _age(page: Page, model: str, version: str) -> Iterator[Breach]:
    clock = page.value("ml_exporter_clock_timestamp_seconds")
    trained, limit = page.trained(model).get(version), page.value("ml_model_max_age_seconds", model=model)
    if clock is not None and trained is not None and limit is not None and clock - trained > limit:
        yield Breach("age", {"model": model, "version": version}, clock - trained, limit)
