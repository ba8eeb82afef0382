"""What a configuration's keys must have in common: checks over more than one key."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from fnmatch import fnmatch
from pathlib import Path

from ml_exporter.burn import FASTEST_BURN
from ml_exporter.config_model import Model, Root
from ml_exporter.config_source import Location, key_text
from ml_exporter.config_types import PANES, Window, single_file
from ml_exporter.sources.files import would_match
from ml_exporter.sources.globs import resolved
from ml_exporter.stats.classification import BINARY_METRICS
from ml_exporter.stats.multiclass import MULTICLASS_METRICS
from ml_exporter.stats.regression import REGRESSION_METRICS

_RENAMED = ".1700000000000000000"
"""What is added to the name of a spool's file when it is renamed, for example."""
_HEADER_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
MOST_SEGMENTS, MOST_VALUES = 8, 250
"""A row that waits keeps a byte for each of its segments' values."""


@dataclass(frozen=True, slots=True)
class Finding:
    """A problem before it has a line."""

    location: Location
    message: str
    remedy: str


@dataclass(frozen=True, slots=True)
class _Metric:
    low: float
    high: float
    needs_score: bool = False


_RATIO, _SCORED, _ANY = _Metric(0, 1), _Metric(0, 1, needs_score=True), _Metric(float("-inf"), float("inf"))
_LOSS = _Metric(0, float("inf"))


def _metrics(model: Model) -> dict[str, _Metric]:
    """The metrics of the model's task that may have a target, and what they can be."""
    if model.task == "regression":
        ratios = {"interval_coverage": _RATIO, "r2_score": _Metric(float("-inf"), 1), "bias": _ANY}
        return {name: ratios.get(name, _LOSS) for name in REGRESSION_METRICS}
    losses = {"log_loss": _Metric(0, float("inf"), needs_score=True)}
    if model.task == "multiclass":
        scored = {"roc_auc": _SCORED, "top_k_accuracy": _SCORED, **losses}
        return {name: scored.get(name, _RATIO) for name in MULTICLASS_METRICS}
    special = {
        "matthews_corrcoef": _Metric(-1, 1),
        "roc_auc": _SCORED,
        "average_precision": _SCORED,
        "brier_score": _SCORED,
        **losses,
    }
    value = {"quality_value": _ANY} if model.quality_value else {}
    return {name: special.get(name, _RATIO) for name in BINARY_METRICS} | value


def suggestion(name: str, known: Iterable[str]) -> str:
    """Return a remedy for an unknown name: the nearest known one, or all of them."""
    names = sorted(known)
    if not names:
        return "remove it: there is none to name"
    near = get_close_matches(name, names, n=1, cutoff=0.6)
    return f'did you mean "{near[0]}"?' if near else f"known: {', '.join(names)}"


def check_root(root: Root) -> Iterator[Finding]:
    """Yield what is wrong between sections."""
    names = [model.name for model in root.models]
    yield from _repeated(names, ("models",), "name")
    yield from _pushed(root)
    processes = [process.name for process in root.host.processes]
    yield from _repeated(processes, ("host", "processes"), "name")
    for index, model in enumerate(root.models):
        for place, name in enumerate(model.processes):
            if name not in processes:
                at: Location = ("models", index, "processes", place)
                yield Finding(at, f'"{name}" is not in host.processes', suggestion(name, processes))
        if model.compare_with is not None and model.compare_with not in {*names} - {model.name}:
            at = ("models", index, "compare_with")
            remedy = suggestion(model.compare_with, {*names} - {model.name})
            yield Finding(at, f'"{model.compare_with}" is not another model', remedy)


def _pushed(root: Root) -> Iterator[Finding]:
    logs = [
        (log, ("models", index, source))
        for index, model in enumerate(root.models)
        for source, log in (("predictions", model.predictions), ("labels", model.labels))
        if log is not None
    ]
    patterns = [(resolved(log.path), at) for log, at in logs]
    for log, at in logs:
        if not log.push:
            continue
        if root.exporter.state is None:
            yield Finding(
                (*at, "push"), "needs exporter.state", "name a file there: what is taken must be kept"
            )
        if log.format != "jsonl":
            yield Finding((*at, "format"), "cannot be pushed", "leave it out: pushed records are JSON lines")
        path = single_file(log.path)
        if path is None:
            remedy = "name one file, which the exporter writes"
            yield Finding((*at, "path"), "matches more than one file", remedy)
            continue
        readers = [key_text(other) for pattern, other in patterns if other != at and _reads(pattern, path)]
        if readers:
            message = f"is read by {', '.join(readers)} too"
            yield Finding((*at, "path"), message, "give it a file that no other log's path matches")
    if root.exporter.push.body_limit > root.exporter.push.spool_limit // 2:
        where = ("exporter", "push", "body_limit")
        yield Finding(where, "is more than half of spool_limit", "make it smaller")


def _reads(pattern: str, spool: Path) -> bool:
    """Tell whether a log of this glob would read a spool, or what it is renamed to."""
    file = os.path.realpath(spool)
    return any(would_match(pattern, name) for name in (file, file + _RENAMED))


def check_model(model: Model, at: Location) -> Iterator[Finding]:
    """Yield what is wrong within one model; `at` is where it stands."""
    checks: tuple[Callable[[Model], Iterator[Finding]], ...] = (
        _task,
        _segments,
        _windows,
        _quality,
        _slo,
        _outputs,
        _labels,
        _versions,
        _lists,
        _columns,
        _dead_letter,
        _retrain,
    )
    for check in checks:
        for found in check(model):
            yield Finding((*at, *found.location), found.message, found.remedy)


def _repeated(names: Sequence[str], at: Location, key: str | None = None) -> Iterator[Finding]:
    for index, name in enumerate(names):
        if name in names[:index]:
            where: Location = (*at, index, key) if key else (*at, index)
            yield Finding(where, f'"{name}" is given twice', "use each name once")


def _task(model: Model) -> Iterator[Finding]:
    score = model.predictions.fields.score
    if model.task == "binary" and score is not None and not isinstance(score, str):
        at: Location = ("predictions", "fields", "score")
        yield Finding(at, "is a mapping", "name the path of P(positive)")


def without_meaning(model: Model) -> Iterator[str]:
    """Yield the keys that the model has and that its task has no use for."""
    fields = model.predictions.fields
    tasks = {
        "quality_value": ("binary", model.quality_value),
        "top_k": ("multiclass", model.top_k),
        "interval": ("regression", model.interval),
        "slo.tolerance": ("regression", model.slo and model.slo.tolerance),
        "calibration": ("binary", model.calibration),
    }
    for key, (task, value) in tasks.items():
        if value is not None and model.task != task:
            yield f"{key}: is for {task} models, and this one is {model.task}"
    if model.task == "regression" and fields.score is not None:
        yield "predictions.fields.score: has no meaning in a regression; the number is predictions.fields.prediction"


def _segments(model: Model) -> Iterator[Finding]:
    if len(model.segments) > MOST_SEGMENTS:
        yield Finding(("segments",), "are too many", f"name at most {MOST_SEGMENTS}")
    for key, limit in (("segment_limit", model.segment_limit), ("class_limit", model.class_limit)):
        if limit > MOST_VALUES:
            yield Finding((key,), "is too large", f"use at most {MOST_VALUES}")


def _windows(model: Model) -> Iterator[Finding]:
    previous: Window | None = None
    for index, window in enumerate(model.windows):
        if window.seconds % PANES:
            remedy = f"use whole minutes: a window has {PANES} panes of whole seconds"
            yield Finding(("windows", index), f"{window.name} is not a whole number of minutes", remedy)
        if previous is not None and window.seconds <= previous.seconds:
            message = f"{window.name} is not longer than {previous.name}"
            yield Finding(("windows", index), message, "list windows from short to long, each once")
        previous = window
    given = model.given_alert_window
    if given is not None and given.seconds not in {window.seconds for window in model.windows}:
        remedy = f"use one of {', '.join(window.name for window in model.windows)}"
        yield Finding(("alert_window",), f"{given.name} is not one of the windows", remedy)


def _quality(model: Model) -> Iterator[Finding]:
    metrics = _metrics(model)
    for name, target in model.quality.items():
        at: Location = ("quality", name)
        metric = metrics.get(name)
        if metric is None:
            yield Finding(at, f"is not a metric of {model.task} models", suggestion(name, metrics))
            continue
        if target.min is None and target.max is None:
            yield Finding(at, "has no bound", "give it min, max or both")
        for bound, value in (("min", target.min), ("max", target.max)):
            if value is not None and not metric.low <= value <= metric.high:
                message = f"{value:g} is outside what {name} can be"
                yield Finding((*at, bound), message, f"use a value from {metric.low:g} to {metric.high:g}")
        if target.min is not None and target.max is not None and target.min > target.max:
            yield Finding((*at, "min"), "is above max", "exchange them")
        if metric.needs_score and model.predictions.fields.score is None:
            yield Finding(at, "needs a score", "name it in predictions.fields.score")


def _slo(model: Model) -> Iterator[Finding]:
    if model.slo is None:
        return
    if model.task == "regression" and model.slo.tolerance is None:
        remedy = "give slo.tolerance, the largest absolute error of a good prediction"
        yield Finding(("slo",), "does not say what a good prediction is", remedy)
    if not model.slo.page or model.cadence == "batch":
        return
    burn = 1 - model.slo.objective
    if FASTEST_BURN * burn >= 1:
        message = (
            f"at {model.slo.objective:g} a total outage burns {1 / burn:.3g}, so {FASTEST_BURN} never pages"
        )
        remedy = f"raise it above {1 - 1 / FASTEST_BURN:.4f} or set slo.page: false"
        yield Finding(("slo", "objective"), message, remedy)


def _outputs(model: Model) -> Iterator[Finding]:
    fields = model.predictions.fields
    at: Location = ("predictions", "fields")
    if model.task == "regression":
        if fields.prediction is None:
            yield Finding(at, "prediction is not named", "name where the predicted number stands")
    elif fields.score is None and fields.prediction is None:
        what = "P(positive)" if model.task == "binary" else "the classes' probabilities"
        yield Finding(
            at, "neither score nor prediction is named", f"name where {what} or the decision stands"
        )


def _labels(model: Model) -> Iterator[Finding]:
    if model.labels is None:
        for key, wanted in (("quality", bool(model.quality)), ("slo", model.slo is not None)):
            if wanted and model.predictions.fields.label is None:
                remedy = "add labels, or predictions.fields.label where the label is in the same record"
                yield Finding((key,), "needs labels, and none are configured", remedy)
        return
    if model.labels.wait < model.labels.maturity:
        yield Finding(("labels", "wait"), "is shorter than maturity", "make it at least as long")
    if model.labels.silence == "negative" and model.task != "binary":
        remedy = "leave it out: without a label nothing is known of the row"
        yield Finding(("labels", "silence"), f"means nothing in {model.task} models", remedy)


def _versions(model: Model) -> Iterator[Finding]:
    yield from _repeated(model.shadow, ("shadow",))
    if model.champion in model.shadow:
        message = f'"{model.champion}" is a shadow too'
        yield Finding(("champion",), message, "a champion's predictions are served, a shadow's are not")


def _lists(model: Model) -> Iterator[Finding]:
    features = model.predictions.fields.features
    if isinstance(features, tuple):
        yield from _repeated(features, ("predictions", "fields", "features"))
    yield from _repeated(model.segments, ("segments",))
    yield from _repeated(model.export_bins, ("export_bins",))
    yield from _repeated(model.drift.methods or (), ("drift", "methods"))
    yield from _repeated(model.drift.references, ("drift", "references"))


def _columns(model: Model) -> Iterator[Finding]:
    for name, column in model.columns.items():
        if column.min is not None and column.max is not None and column.min > column.max:
            yield Finding(("columns", name, "min"), "is above max", "exchange them")


def _dead_letter(model: Model) -> Iterator[Finding]:
    path = model.dead_letter.path if model.dead_letter else None
    logs = [model.predictions.path, *([model.labels.path] if model.labels else [])]
    # A file that is read as a log would be rejected line by line, again and again.
    if path and any(path.match(log) or fnmatch(str(path), log.replace("**/", "*")) for log in logs):
        yield Finding(
            ("dead_letter", "path"), "is read as a log too", "name a file that no log's path matches"
        )


def _retrain(model: Model) -> Iterator[Finding]:
    for name in model.retrain.headers if model.retrain else ():
        if not _HEADER_NAME.fullmatch(name):
            remedy = "write one such as Authorization, and the file that holds its value"
            yield Finding(("retrain", "headers", name), "is not the name of a header", remedy)
