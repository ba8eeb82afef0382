"""Mature predictions with what became of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ml_exporter.layout import Cells, Layout
from ml_exporter.profile import NumericColumn
from ml_exporter.sources.batch import Outputs
from ml_exporter.stats.arrays import BoolArray, FloatArray, IntArray


@dataclass(frozen=True)
class Judged(Outputs):
    """n mature predictions of one version with what became of them.

    `labels` float64, NaN where none has come; `segments` int64 (n, s), the value's code for each of
    the model's segments.
    """

    labels: FloatArray
    segments: IntArray | None = None

    def take(self, rows: BoolArray) -> Judged:
        """The rows where `rows` is true."""
        return Judged(
            self.times[rows],
            self.scores[rows],
            self.classes[rows],
            None if self.details is None else self.details[rows],
            self.labels[rows],
            None if self.segments is None else self.segments[rows],
        )

    @property
    def labelled(self) -> BoolArray:
        """Where a label has come."""
        return ~np.isnan(self.labels)


def label_codes(layout: Layout, cells: Cells, labels: FloatArray, classes: Sequence[str]) -> IntArray:
    """Cells of n labels: numbers, or codes into `classes`."""
    if isinstance(cells.column, NumericColumn):
        return cells.numeric_codes(labels, None)
    codes = layout.category_codes(cells.name, classes)
    return codes[np.minimum(labels.astype(np.int64), len(classes))]
