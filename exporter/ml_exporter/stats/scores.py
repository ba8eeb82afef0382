"""Sparse histograms of a binary model's scores by label.

A fixed grid fails where scores crowd at 0 or 1, so the bins are those of a floating-point number:
ten mantissa bits of the distance to the nearer end, and the side. A bin is at most 0.1 % of that
distance wide, everywhere between 1e-38 and 1 - 1e-16.
"""

from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np

from ml_exporter.stats.arrays import BoolArray, FloatArray, KeyArray
from ml_exporter.stats.sparse import SparseCounts

_DROPPED_BITS = 13  # float32 has 23 mantissa bits; ten are kept
_CODE_BITS = 18  # exponent and kept mantissa of a float32 below 1; its sign is always 0
_KEYS = 1 << (_CODE_BITS + 1)


def score_keys(scores: FloatArray) -> KeyArray:
    """Bin keys of scores, shape (n,); a higher score never has a lower key.

    Scores are probabilities in [0, 1]; anything else raises ValueError.
    """
    if not np.all((scores >= 0.0) & (scores <= 1.0)):
        raise ValueError("scores must lie in [0, 1]")
    high = scores > 0.5
    # 1 - p is exact in float64 above one half, so no precision is lost at the upper end.
    distance = np.where(high, 1.0 - scores, np.abs(scores)).astype(np.float32)
    codes = distance.view(np.uint32) >> np.uint32(_DROPPED_BITS)
    return np.where(high, np.uint32(_KEYS - 1) - codes, codes).astype(np.uint32)


@dataclass(frozen=True, eq=False, slots=True)
class ScoreHistogram(SparseCounts):
    """Counts of rows by score bin and label, negatives in column 0 and positives in column 1."""

    title: ClassVar[str] = "score histogram"
    magic: ClassVar[bytes] = b"SCH1"
    columns: ClassVar[int] = 2
    key_limit: ClassVar[int] = _KEYS

    @classmethod
    def of(cls, scores: FloatArray, labels: BoolArray) -> Self:
        """Histogram of n scores in [0, 1] and their n labels (True = positive)."""
        return cls.of_cells(score_keys(scores).astype(np.int64) * 2 + labels)

    @property
    def negatives(self) -> int:
        """Rows with a negative label."""
        return int(self.counts[:, 0].sum())

    @property
    def positives(self) -> int:
        """Rows with a positive label."""
        return int(self.counts[:, 1].sum())
