"""Targets and limits from what a model did in the past: what it nearly always kept is what to ask of it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from ml_exporter.burn import FASTEST_BURN
from ml_exporter.config import Model
from ml_exporter.config_model import DriftLimits, HealthLimits
from ml_exporter.stats.regression import REGRESSION_METRICS
from ml_exporter.suggest.prometheus import Series, selector

Ask: TypeAlias = Callable[[str], list[Series]]
"""Returns a query's series over the time that is looked at."""
_Seen: TypeAlias = Mapping[tuple[str, ...], NDArray[np.float64]]

RARE = 0.01
"""Share of the looks that may lie beyond what is proposed."""
_CHAMPION = ' and on (job, instance, model, version) ml_model_version_info{role="champion"}'
_TWO_SIDED = ("bias",)
_LOSSES = {"log_loss", "brier_score", *REGRESSION_METRICS} - {*_TWO_SIDED, "r2_score", "interval_coverage"}
_USUAL = {
    "binary": ("roc_auc", "accuracy", "log_loss"),
    "multiclass": ("accuracy", "f1_macro", "log_loss"),
    "regression": ("mean_absolute_error", "bias"),
}
_USUAL_CHECKS = ("missing", "unseen")
_LEAST_SHARE, _LEAST_DRIFTED, _LEAST_SILENCE = 0.001, 0.1, 300.0
# A column that needs more than this many times the limit of most others gets one of its own.
_APART = 1.5
_MARGIN = 1.5


@dataclass(frozen=True)
class Proposal:
    """A key of the model with its value; `why` tells what was seen."""

    path: tuple[str, ...]
    value: float | str | bool
    why: str


def proposals(model: Model, ask: Ask) -> Iterator[Proposal]:
    """Propose what the history of a model allows; nothing where it has none of it."""
    yield from _quality(model, ask)
    yield from _calibration(model, ask)
    yield from _drift(model, ask)
    yield from _health(model, ask)
    yield from _promises(model, ask)
    yield from _silence(model, ask)
    yield from _delay(model, ask)


def _quality(model: Model, ask: Ask) -> Iterator[Proposal]:
    values, lowers, uppers = (
        _seen(model, ask, family, "metric")
        for family in ("ml_quality", "ml_quality_lower", "ml_quality_upper")
    )
    for metric in model.quality or _USUAL[model.task]:
        key = (metric,)
        if key not in values:
            continue
        told = f"from {_rare(values[key], low=True):.4g} to {_rare(values[key]):.4g}"
        if metric not in _LOSSES:
            sure = [float(np.median(lowers[key]))] if key in lowers else []
            low = min([_rare(values[key], low=True), *sure])
            yield Proposal(
                ("quality", metric, "min"), _outward(low, up=False), _with_bound(told, "least", sure)
            )
        if metric in _LOSSES or metric in _TWO_SIDED:
            sure = [float(np.median(uppers[key]))] if key in uppers else []
            high = max([_rare(values[key]), *sure])
            yield Proposal(("quality", metric, "max"), _outward(high), _with_bound(told, "most", sure))


def _calibration(model: Model, ask: Ask) -> Iterator[Proposal]:
    errors = _seen(model, ask, "ml_calibration_error").get(())
    noise = _seen(model, ask, "ml_calibration_error_noise").get(())
    if errors is not None:
        yield Proposal(
            ("calibration", "max"), _outward(_needed(errors, noise), digits=2), _told(errors, noise)
        )


def _drift(model: Model, ask: Ask) -> Iterator[Proposal]:
    training = {"reference": "training"}
    values = _seen(model, ask, "ml_drift", "method", "column", **training)
    noises = _seen(model, ask, "ml_drift_noise", "method", "column", **training)
    limits = (model.drift, *model.drift.columns.values())
    limited = [name for name in DriftLimits.model_fields if any(getattr(one, name) for one in limits)]
    for method in limited or ("psi",):
        needed = {
            key[1]: (_needed(found, noises.get(key)), _told(found, noises.get(key)))
            for key, found in values.items()
            if key[0] == method
        }
        yield from _common("drift", method, needed)
    together = _seen(model, ask, "ml_multivariate_drift", "method", **training)
    noises = _seen(model, ask, "ml_multivariate_drift_noise", "method", **training)
    for key, found in together.items():
        value = _outward(_needed(found, noises.get(key)), digits=2)
        yield Proposal(("multivariate", *key, "max"), value, _told(found, noises.get(key)))
    shares = _seen(model, ask, "ml_drifted_columns_ratio", **training).get(())
    if shares is not None and model.drift_limited():
        share = min(_outward(max(_rare(shares), _LEAST_DRIFTED), digits=2), 1.0)
        yield Proposal(
            ("drifted_columns_limit",),
            share,
            f"up to {_rare(shares):.2g} of the columns, with the limits that held",
        )


def _health(model: Model, ask: Ask) -> Iterator[Proposal]:
    values = _seen(model, ask, "ml_input_violation_ratio", "check", "column")
    limits = (model.health, *model.health.columns.values())
    limited = [name for name in HealthLimits.model_fields if any(getattr(one, name) for one in limits)]
    for check in limited or _USUAL_CHECKS:
        needed = {
            key[1]: (min(max(_rare(found), _LEAST_SHARE), 1.0), _told(found, None))
            for key, found in values.items()
            if key[0] == check
        }
        yield from _common("health", check, needed)


def _promises(model: Model, ask: Ask) -> Iterator[Proposal]:
    """Propose what share of a day's predictions is good, and how long the slowest of those promised take."""
    if model.slo is not None:
        good, labelled = (
            f"sum(increase({selector(f'ml_{kind}_predictions_total', model=model.name)}[1d]))"
            for kind in ("good", "labeled")
        )
        shares = _values(ask(f"{good} / {labelled}"))
        if shares.size:
            objective = min(max(_outward(_rare(shares, low=True), up=False), _LEAST_SHARE), 1 - _LEAST_SHARE)
            told = f"days had from {_rare(shares, low=True):.4g} to {_rare(shares):.4g}"
            yield Proposal(("slo", "objective"), objective, told)
            if model.slo.page and FASTEST_BURN * (1 - objective) >= 1:
                yield Proposal(("slo", "page"), False, f"no outage can burn {FASTEST_BURN} times too fast")
    if model.latency is not None:
        seconds = _values(ask(_quantile("ml_prediction_latency_seconds", model, model.latency.objective)))
        if seconds.size:
            told = f"{model.latency.objective:g} of a day's predictions took at most that"
            yield Proposal(("latency", "limit"), _outward(float(seconds.max()), digits=2), told)


def _delay(model: Model, ask: Ask) -> Iterator[Proposal]:
    delays = _values(ask(_quantile("ml_label_delay_seconds", model, 0.9))) if model.labels else np.array([])
    if delays.size:
        longest = float(delays.max())
        minutes = math.ceil(_MARGIN * longest / 60)
        told = f"9 of 10 labels of a day came within {longest / 60:.3g} minutes"
        yield Proposal(("label_delay_limit",), f"{minutes}m", told)


def _silence(model: Model, ask: Ask) -> Iterator[Proposal]:
    last = selector("ml_last_prediction_timestamp_seconds", model=model.name)
    ages = _values(ask(f"ml_exporter_clock_timestamp_seconds - on (job, instance) group_right () {last}"))
    if ages.size:
        longest = float(ages.max())
        minutes = math.ceil(max(_MARGIN * longest, _LEAST_SILENCE) / 60)
        yield Proposal(
            ("prediction_age_limit",),
            f"{minutes}m",
            f"the longest silence seen was {longest / 60:.3g} minutes",
        )


def _common(section: str, key: str, needed: Mapping[str, tuple[float, str]]) -> Iterator[Proposal]:
    """Propose one limit for all columns, and others for the few that need a much larger one."""
    if not needed:
        return
    typical = float(np.quantile([value for value, _ in needed.values()], 0.9, method="lower"))
    apart = {column for column, (value, _) in needed.items() if value > _APART * typical}
    worst = max((column for column in needed if column not in apart), key=lambda column: needed[column][0])
    value, why = needed[worst]
    yield Proposal((section, key, "max"), _outward(value, digits=2), f"{worst}: {why}")
    for column in sorted(apart):
        value, why = needed[column]
        yield Proposal((section, "columns", column, key, "max"), _outward(value, digits=2), why)


def _seen(model: Model, ask: Ask, family: str, *by: str, **labels: str) -> _Seen:
    """Return what the champion showed in the alert window, by labels."""
    chosen = selector(family, model=model.name, window=model.alert_window.name, **labels)
    grouped: dict[tuple[str, ...], list[Series]] = {}
    for series in ask(chosen + _CHAMPION):
        grouped.setdefault(tuple(series.labels.get(name, "") for name in by), []).append(series)
    return {key: values for key, found in grouped.items() if (values := _values(found)).size}


def _quantile(family: str, model: Model, share: float) -> str:
    buckets = selector(f"{family}_bucket", model=model.name)
    return f"histogram_quantile({share:g}, sum by (le) (increase({buckets}[1d])))"


def _values(found: list[Series]) -> NDArray[np.float64]:
    values = np.array([value for series in found for _, value in series.samples], dtype=np.float64)
    return values[np.isfinite(values)]


def _rare(values: NDArray[np.float64], low: bool = False) -> float:
    """Return what only RARE of the values are below (`low`) or above."""
    return float(np.quantile(values, RARE if low else 1 - RARE))


def _needed(values: NDArray[np.float64], noise: NDArray[np.float64] | None) -> float:
    """Return the least limit that would have been kept; below the noise a limit says nothing."""
    floor = 0.0 if noise is None else float(np.median(noise))
    return max(_rare(values), floor)


def _told(values: NDArray[np.float64], noise: NDArray[np.float64] | None) -> str:
    told = f"up to {_rare(values):.3g}"
    return told if noise is None else f"{told}, noise {float(np.median(noise)):.3g}"


def _with_bound(told: str, side: str, sure: list[float]) -> str:
    return f"{told}, surely at {side} {sure[0]:.4g} half of the time" if sure else told


def _outward(value: float, up: bool = True, digits: int = 3) -> float:
    """Round to some significant digits, away from where the values are."""
    if value == 0:
        return 0.0
    unit = 10.0 ** (math.floor(math.log10(abs(value))) - digits + 1)
    steps = value / unit
    # What is a whole number of steps but for the last bit stays as it is.
    whole = (
        round(steps)
        if math.isclose(steps, round(steps), rel_tol=1e-9)
        else (math.ceil if up else math.floor)(steps)
    )
    return float(f"{whole * unit:.12g}")
