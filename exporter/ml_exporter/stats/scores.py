"""Sparse histograms of a binary model's scores by label.

A fixed grid fails where scores crowd at 0 or 1, so the bins are those of a floating-point number:
ten mantissa bits of the distance to the nearer end, and the side. A bin is at most 0.1 % of that
distance wide, everywhere between 1e-38 and 1 - 1e-16.
"""

import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np

from ml_exporter.stats.arrays import BoolArray, FloatArray, IntArray, KeyArray

_DROPPED_BITS = 13  # float32 has 23 mantissa bits; ten are kept
_CODE_BITS = 18  # exponent and kept mantissa of a float32 below 1; its sign is always 0
_CODE_MASK = (1 << _CODE_BITS) - 1
_KEYS = 1 << (_CODE_BITS + 1)
_DENSE_FROM = 1 << 16  # from here on one pass over a dense table beats sorting
_MAGIC = b"SCH1"
_HEADER = struct.Struct("<4sI")


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
class ScoreHistogram:
    """Counts of rows by score bin and label.

    `keys` has shape (k,), uint32, sorted and unique; `counts` has shape (k, 2), int64, with the
    negatives in column 0 and the positives in column 1. Merges with `+`.
    """

    keys: KeyArray
    counts: IntArray

    @classmethod
    def empty(cls) -> Self:
        """The histogram of no rows."""
        return cls(np.zeros(0, np.uint32), np.zeros((0, 2), np.int64))

    @classmethod
    def of(cls, scores: FloatArray, labels: BoolArray) -> Self:
        """Histogram of n scores in [0, 1] and their n labels (True = positive)."""
        cells = score_keys(scores).astype(np.int64) * 2 + labels
        if cells.size >= _DENSE_FROM:
            return cls._from_dense(np.bincount(cells, minlength=2 * _KEYS).reshape(_KEYS, 2))
        found, sizes = np.unique(cells, return_counts=True)
        return cls._from_cells(found, sizes.astype(np.int64))

    @classmethod
    def merge(cls, parts: Iterable[Self]) -> Self:
        """Sum of any number of histograms in one pass."""
        filled = [part for part in parts if part.keys.size]
        if len(filled) < 2:
            return filled[0] if filled else cls.empty()
        if sum(part.keys.size for part in filled) >= _DENSE_FROM:
            return cls._merge_dense(filled)
        keys, position = np.unique(np.concatenate([part.keys for part in filled]), return_inverse=True)
        counts = np.zeros((keys.size, 2), np.int64)
        np.add.at(counts, position, np.concatenate([part.counts for part in filled]))
        return cls(keys, counts)

    def __add__(self, other: Self) -> Self:
        return self.merge((self, other))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, ScoreHistogram):
            return NotImplemented
        return np.array_equal(self.keys, other.keys) and np.array_equal(self.counts, other.counts)

    @property
    def negatives(self) -> int:
        """Rows with a negative label."""
        return int(self.counts[:, 0].sum())

    @property
    def positives(self) -> int:
        """Rows with a positive label."""
        return int(self.counts[:, 1].sum())

    def to_bytes(self) -> bytes:
        """A portable little-endian form, read back by `from_bytes`."""
        keys = self.keys.astype("<u4").tobytes()
        return _HEADER.pack(_MAGIC, self.keys.size) + keys + self.counts.astype("<i8").tobytes()

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Read the form that `to_bytes` writes; raises ValueError on anything else."""
        size = _size_of(data)
        keys = np.frombuffer(data, "<u4", size, _HEADER.size).astype(np.uint32)
        counts = np.frombuffer(data, "<i8", 2 * size, _HEADER.size + 4 * size).astype(np.int64)
        if np.any(keys[1:] <= keys[:-1]) or np.any(keys >= _KEYS) or np.any(counts < 0):
            raise ValueError("score histogram: keys or counts are damaged")
        return cls(keys, counts.reshape(size, 2))

    @classmethod
    def _from_cells(cls, cells: IntArray, sizes: IntArray) -> Self:
        keys, position = np.unique(cells >> 1, return_inverse=True)
        counts = np.zeros((keys.size, 2), np.int64)
        counts[position, cells & 1] = sizes
        return cls(keys.astype(np.uint32), counts)

    @classmethod
    def _from_dense(cls, table: IntArray) -> Self:
        keys = np.flatnonzero(table[:, 0] + table[:, 1])
        return cls(keys.astype(np.uint32), table[keys].astype(np.int64, copy=False))

    @classmethod
    def _merge_dense(cls, parts: Sequence[Self]) -> Self:
        table = np.zeros((_KEYS, 2), np.int64)
        for part in parts:
            table[part.keys] += part.counts  # keys are unique within a part
        return cls._from_dense(table)


def _size_of(data: bytes) -> int:
    if len(data) < _HEADER.size:
        raise ValueError("score histogram: too short")
    magic, size = _HEADER.unpack_from(data)
    if magic != _MAGIC or len(data) != _HEADER.size + 20 * size:
        raise ValueError("score histogram: unknown form or wrong length")
    return int(size)
