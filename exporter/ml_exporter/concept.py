"""Drift of the concept: detectors that watch the losses of one version, in the order of time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any, TypeAlias

import numpy as np

from ml_exporter.judged import Judged
from ml_exporter.layout import Layout
from ml_exporter.stats.arrays import BoolArray, FloatArray
from ml_exporter.stats.detectors import Adwin, Ddm, Ecusum, PageHinkley, ecusum_threshold
from ml_exporter.tasks.task import Known, Task

Detector: TypeAlias = Ecusum | PageHinkley | Ddm | Adwin

KINDS: Mapping[str, type[Detector]] = {
    "ecusum": Ecusum,
    "page_hinkley": PageHinkley,
    "ddm": Ddm,
    "adwin": Adwin,
}


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

    def update(self, known: Known, labels_a_year: float) -> None:
        """Feed n labelled rows with their losses."""
        rows = known.rows
        loss = np.minimum(known.losses[self._task.watched_loss] / self._scale, 1.0)
        valid = np.isfinite(loss)
        for name, detector in self.detectors.items():
            if isinstance(detector, Ecusum):
                expected = self._expected_of(rows, valid)
                threshold = ecusum_threshold(labels_a_year)
                self.detectors[name] = detector.update(loss[valid], expected, threshold, self._tolerance)
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

    def _expected_of(self, rows: Judged, valid: BoolArray) -> FloatArray:
        assert self._expected is not None
        cells = self._layout.cells[self._task.answer_column]
        scores = rows.scores[valid]
        codes = cells.numeric_codes(scores, np.isnan(scores))
        # What has no bin is not judged: a loss of 1 is expected there.
        return np.append(self._expected, 1.0)[np.minimum(codes, self._expected.size)]
