"""Histograms that keep their filled bins only, and add up."""

import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import ClassVar, Self

import numpy as np

from ml_exporter.stats.arrays import FloatArray, IntArray, KeyArray

_HEADER = struct.Struct("<4sI")
_DENSE_SHARE = 8  # from an eighth of all keys on, one pass over a dense table beats sorting


@dataclass(frozen=True, eq=False, slots=True)
class SparseCounts:
    """Counts of rows by bin key, in one or more columns; merges with `+`.

    `keys` has shape (k,), uint32, sorted and unique; `counts` has shape (k, columns), int64. A
    subclass is one kind of histogram: it says what a key means, how many there can be, how many
    columns stand beside it, and the four bytes that its stored form begins with.
    """

    title: ClassVar[str]
    magic: ClassVar[bytes]
    columns: ClassVar[int]
    key_limit: ClassVar[int]

    keys: KeyArray
    counts: IntArray

    @classmethod
    def empty(cls) -> Self:
        """The histogram of no rows."""
        return cls(np.zeros(0, np.uint32), np.zeros((0, cls.columns), np.int64))

    @classmethod
    def of_cells(cls, cells: IntArray) -> Self:
        """Histogram of n rows from their cells: key * columns + column, shape (n,)."""
        if cells.size * _DENSE_SHARE >= cls.key_limit:
            table = np.bincount(cells, minlength=cls.key_limit * cls.columns)
            return cls._from_dense(table.reshape(cls.key_limit, cls.columns))
        found, sizes = np.unique(cells, return_counts=True)
        keys, position = np.unique(found // cls.columns, return_inverse=True)
        counts = np.zeros((keys.size, cls.columns), np.int64)
        counts[position, found % cls.columns] = sizes
        return cls(keys.astype(np.uint32), counts)

    @classmethod
    def of_weights(cls, keys: IntArray, weights: FloatArray) -> Self:
        """Histogram of n rows of keys (n,) that add whole numbers of shape (columns, n) to their bins.

        The first column must not be 0. Sums are exact below 2^53.
        """
        if keys.size * _DENSE_SHARE >= cls.key_limit:
            table = np.stack([np.bincount(keys, column, cls.key_limit) for column in weights], axis=1)
            return cls._from_dense(table.astype(np.int64))
        found, position = np.unique(keys, return_inverse=True)
        counts = np.stack([np.bincount(position, column, found.size) for column in weights], axis=1)
        return cls(found.astype(np.uint32), counts.astype(np.int64))

    @classmethod
    def merge(cls, parts: Iterable[Self]) -> Self:
        """Sum of any number of histograms in one pass."""
        filled = [part for part in parts if part.keys.size]
        if len(filled) < 2:
            return filled[0] if filled else cls.empty()
        if sum(part.keys.size for part in filled) * _DENSE_SHARE >= cls.key_limit:
            return cls._merge_dense(filled)
        keys = np.concatenate([part.keys for part in filled])
        order = np.argsort(keys, kind="stable")  # merges runs that are sorted already, as these are
        keys = keys[order]
        starts = np.flatnonzero(np.diff(keys, prepend=keys[0] + np.uint32(1)))
        counts = np.concatenate([part.counts for part in filled])[order]
        return cls(keys[starts], np.add.reduceat(counts, starts, axis=0))

    def __add__(self, other: Self) -> Self:
        return self.merge((self, other))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, type(self)):
            return NotImplemented
        return np.array_equal(self.keys, other.keys) and np.array_equal(self.counts, other.counts)

    def to_bytes(self) -> bytes:
        """A portable little-endian form, read back by `from_bytes`."""
        keys = self.keys.astype("<u4").tobytes()
        return _HEADER.pack(self.magic, self.keys.size) + keys + self.counts.astype("<i8").tobytes()

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Read the form that `to_bytes` writes; raises ValueError on anything else."""
        size = cls._size_of(data)
        keys = np.frombuffer(data, "<u4", size, _HEADER.size).astype(np.uint32)
        counts = np.frombuffer(data, "<i8", cls.columns * size, _HEADER.size + 4 * size).astype(np.int64)
        if np.any(keys[1:] <= keys[:-1]) or np.any(keys >= cls.key_limit) or np.any(counts < 0):
            raise ValueError(f"{cls.title}: keys or counts are damaged")
        return cls(keys, counts.reshape(size, cls.columns))

    @classmethod
    def _size_of(cls, data: bytes) -> int:
        if len(data) < _HEADER.size:
            raise ValueError(f"{cls.title}: too short")
        magic, size = _HEADER.unpack_from(data)
        if magic != cls.magic or len(data) != _HEADER.size + (4 + 8 * cls.columns) * size:
            raise ValueError(f"{cls.title}: unknown form or wrong length")
        return int(size)

    @classmethod
    def _from_dense(cls, table: IntArray) -> Self:
        # Columns are added one by one: a reduction over so short an axis takes three times as long.
        keys = np.flatnonzero(reduce(np.add, table.T))
        return cls(keys.astype(np.uint32), table[keys].astype(np.int64, copy=False))

    @classmethod
    def _merge_dense(cls, parts: Sequence[Self]) -> Self:
        table = np.zeros((cls.key_limit, cls.columns), np.int64)
        for part in parts:
            table[part.keys] += part.counts  # keys are unique within a part
        return cls._from_dense(table)
