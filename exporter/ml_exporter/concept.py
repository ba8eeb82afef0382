"""Drift of the concept: detectors that watch the losses of one version, in the order of time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any, TypeAlias

import numpy as np

from ml_exporter.hours import HOUR, KEPT
from ml_exporter.judged import Judged
from ml_exporter.layout import Layout
from ml_exporter.stats.arrays import BoolArray, FloatArray, IntArray
from ml_exporter.stats.detectors import Adwin, Ddm, Ecusum, PageHinkley, ecusum_threshold
from ml_exporter.tasks.task import Known, Task

Detector: TypeAlias = Ecusum | PageHinkley | Ddm | Adwin

KINDS: Mapping[str, type[Detector]] = {
    "ecusum": Ecusum,
    "page_hinkley": PageHinkley,
    "ddm": Ddm,
    "adwin": Adwin,
}


@dataclass(frozen=True)
class Pace:
    """Labels (n,) by hour since 1970 (n,), in rising order: those hours that have any."""

    hours: IntArray
    labels: FloatArray

    def a_year(self, hours: IntArray) -> FloatArray:
        """How many labels a year has at the pace of the quarter before each of some hours; 0 where there are none.

        The hour itself is left out: how much of it is known depends on when one looks.
        """
        if not self.hours.size:
            return np.zeros(hours.size)
        first, last = (np.searchsorted(self.hours, edge) for edge in (hours - KEPT, hours))
        sums = np.append(0.0, np.cumsum(self.labels))
        length = hours - self.hours[np.minimum(first, self.hours.size - 1)]
        return np.asarray((sums[last] - sums[first]) / np.maximum(length, 1) * 24 * 365)


class Watch:
    """Detectors of one version by name.

    The e-CUSUM judges losses against those that the profile expects of rows with such a score, and
    needs a profile; the others judge the losses alone.
    """

    def __init__(self, names: Sequence[str], tolerance: float, layout: Layout, task: Task) -> None:
        self._tolerance = tolerance
        self._layout = layout
        self._task = task
        expected = layout.profile.expected_loss if layout.profile else None
        self._expected = None if expected is None else np.asarray(expected.upper, np.float64)
        self._scale = 1.0 if expected is None else expected.scale
        usable = [name for name in names if name != "ecusum" or self._expected is not None]
        self.detectors: dict[str, Detector] = {name: KINDS[name]() for name in usable}

    def update(self, known: Known, pace: Pace) -> None:
        """Feed n labelled rows with their losses, in the order of time."""
        rows = known.rows
        loss = np.minimum(known.losses[self._task.watched_loss] / self._scale, 1.0)
        valid = np.isfinite(loss)
        for name, detector in self.detectors.items():
            if isinstance(detector, Ecusum):
                self.detectors[name] = self._ecusum(detector, rows, loss, valid, pace)
            else:
                self.detectors[name] = detector.update(loss[valid])

    def document(self) -> dict[str, Any]:
        """The detectors' states as plain numbers."""
        return {name: asdict(detector) for name, detector in self.detectors.items()}

    def restore(self, document: Mapping[str, Any]) -> None:
        """Take over what `document` has given."""
        for name, numbers in document.items():
            if name in self.detectors:
                lists = {key: tuple(value) for key, value in numbers.items() if isinstance(value, list)}
                self.detectors[name] = KINDS[name](**{**numbers, **lists})

    def _ecusum(
        self, detector: Ecusum, rows: Judged, loss: FloatArray, valid: BoolArray, pace: Pace
    ) -> Ecusum:
        """The threshold is that of each row's own hour, so that it matters nowhere how rows come in parts."""
        loss, expected = loss[valid], self._expected_of(rows, valid)
        if not loss.size:
            return detector
        thresholds = ecusum_threshold(pace.a_year(rows.times[valid] // HOUR))
        ends = np.append(np.flatnonzero(np.diff(thresholds)) + 1, loss.size)
        for begin, end in pairwise((0, *ends.tolist())):
            part = slice(begin, end)
            detector = detector.update(loss[part], expected[part], float(thresholds[begin]), self._tolerance)
        return detector

    def _expected_of(self, rows: Judged, valid: BoolArray) -> FloatArray:
        assert self._expected is not None
        cells = self._layout.cells[self._task.answer_column]
        scores = rows.scores[valid]
        codes = cells.numeric_codes(scores, np.isnan(scores))
        # What has no bin is not judged: a loss of 1 is expected there.
        return np.append(self._expected, 1.0)[np.minimum(codes, self._expected.size)]
