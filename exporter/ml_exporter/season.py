"""Volume, positive rate and error rate of the last hour against the same hour of earlier weeks."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np

from ml_exporter.hours import HOUR
from ml_exporter.state import ModelState
from ml_exporter.stats.arrays import IntArray
from ml_exporter.stats.result import Result
from ml_exporter.stats.seasonal import seasonal_deviation
from ml_exporter.version import INPUT_HOURS, loss_columns
from ml_exporter.windows import MICROSECONDS

Subject = Literal["volume", "positive_rate", "error_rate"]


@dataclass(frozen=True)
class Deviation:
    """How far the last complete hour is from its season, in standard errors."""

    subject: Subject
    result: Result


def deviations(state: ModelState, time: int) -> Iterator[Deviation]:
    """What is known of the season of a model at `time` (microseconds).

    Volume and positive rate are those of the served versions together. Errors are those of the
    labelled predictions of the last hour that is mature.
    """
    model, now = state.model, time // HOUR - 1
    hours, rows, positives = _served(state, INPUT_HOURS, now)
    yield Deviation("volume", seasonal_deviation(hours, rows, now))
    if model.task == "binary":
        yield Deviation("positive_rate", seasonal_deviation(hours, rows, now, positives))
    if model.task != "regression" and (model.labels or model.label_field):
        mature = (time - round(model.maturity * MICROSECONDS)) // HOUR - 1
        hours, rows, errors = _served(state, loss_columns(("accuracy",))[:2], mature)
        yield Deviation("error_rate", seasonal_deviation(hours, rows, mature, errors))


def _served(state: ModelState, columns: tuple[str, ...], last: int) -> tuple[IntArray, IntArray, IntArray]:
    """Hours up to `last` (included), and sums of two columns over all versions but shadows."""
    served = [version.hours for name, version in state.versions.items() if name not in state.model.shadow]
    served.append(state.retired)
    hours = sorted({hour for own in served for hour in own.sums if hour <= last})
    sums = np.zeros((len(hours), len(columns)))
    for own in served:
        sums += own.table(columns, hours)
    first, second = np.rint(sums).astype(np.int64).T
    return np.asarray(hours, np.int64), first, second
