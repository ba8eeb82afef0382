"""What is wrong with a model's columns, in words: drift, failed checks, columns that came or went."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ml_exporter.config_model import Model
from ml_exporter.evaluation import ModelReport, WindowReport
from ml_exporter.stats.result import Value
from ml_exporter.web.status import Failure, Shift, Trouble
from ml_exporter.words import listed, number, percent, plural

_NAMED = 3
"""How many columns a sentence names."""
_ALERTS = {"score": "MLPredictionDrift", "prediction": "MLPredictionDrift", "label": "MLLabelDrift"}
_DRIFTED = {"MLPredictionDrift": "Answers have drifted", "MLLabelDrift": "Labels have drifted"}


def drifting(shifts: Sequence[Shift], window: str) -> Iterator[Trouble]:
    """What is to be said of the columns that drift, worst first: inputs, answers and labels apart."""
    groups: dict[str, dict[str, Shift]] = {}
    for shift in shifts:
        groups.setdefault(_ALERTS.get(shift.column, "MLModelDrift"), {}).setdefault(shift.column, shift)
    for alert, columns in groups.items():
        said = listed(
            f"{shift.column} ({shift.method} {number(shift.value)}, limit {shift.limit or 0.0:g})"
            for shift in list(columns.values())[:_NAMED]
        )
        more = f"; {plural(len(columns) - _NAMED, 'more column')}" if len(columns) > _NAMED else ""
        inputs = "A column has drifted" if len(columns) == 1 else f"{len(columns)} columns have drifted"
        text = f"Over {window}, beyond limit and noise: {said}{more}."
        yield Trouble("warning", _DRIFTED.get(alert, inputs), text, alert)


def failing(failures: Sequence[Failure], window: str) -> Iterator[Trouble]:
    """What is to be said of the checks of columns that fail too often, worst first."""
    if not failures:
        return
    said = listed(
        f"{found.column} {found.check.replace('_', ' ')} {percent(found.share)} (limit {percent(found.limit or 0.0)})"
        for found in failures[:_NAMED]
    )
    more = f"; {plural(len(failures) - _NAMED, 'more')}" if len(failures) > _NAMED else ""
    text = f"Over {window}: {said}{more}."
    yield Trouble("warning", "Inputs are not as expected", text, "MLInputViolations")


def together(model: Model, window: WindowReport) -> Iterator[Trouble]:
    """What is to be said of how columns go together."""
    for drift in window.joint:
        limit, result = model.multivariate_limit(drift.method), drift.result
        if limit is None or drift.noise is None or not isinstance(result, Value):
            continue
        if result.value > max(limit, drift.noise):
            text = (
                f"By {drift.method.replace('_', ' ')} they are at {number(result.value)} over "
                f"{window.window.name}; the limit is {limit:g}, and {number(drift.noise)} is noise."
            )
            yield Trouble("warning", "Columns do not go together as they did", text)


def schema(window: WindowReport) -> Iterator[Trouble]:
    """What is to be said of columns that are gone, or say nothing any more."""
    where = f"over {window.window.name}"
    if window.absent:
        text = f"No row {where} has {_named(window.absent)}."
        yield Trouble("warning", "Columns are gone from the log", text, "MLSchemaChanged")
    if window.health is not None and window.health.constants:
        text = f"Each row {where} has the same value in {_named(window.health.constants)}."
        yield Trouble("notice", "Columns have become constant", text)


def unexpected(report: ModelReport) -> Iterator[Trouble]:
    """What is to be said of columns that are new."""
    if report.unexpected:
        text = f"The log has columns that no profile knows: {_named(report.unexpected)}."
        yield Trouble("warning", "Columns are new in the log", text, "MLSchemaChanged")


def _named(columns: Sequence[str]) -> str:
    more = [f"{len(columns) - _NAMED} more"] if len(columns) > _NAMED else []
    return listed([*columns[:_NAMED], *more])
