"""Counts that add up: what is kept of rows.

A tally is a set of named arrays (and a sparse histogram of scores); the tally of two sets of rows
together is the sum of their tallies. Nothing here knows time or models.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Self, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ml_exporter.stats.sparse import SparseCounts

Arrays: TypeAlias = Mapping[str, tuple[tuple[int, ...], type[np.generic]]]
"""Names of arrays with their shapes and types, in the order of the stored form."""

COUNTED = ("out_of_range", "empty", "not_allowed", "pattern")
"""Checks that the cells of a column do not tell: the rows that fail them are counted on their own."""
LATENCY_BOUNDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Upper bounds of the latency buckets, in seconds."""


@dataclass(frozen=True)
class Shape:
    """Which arrays a kind of tally has, and its sparse histogram.

    The meaning of the first `lasting` arrays does not depend on a profile.
    """

    arrays: Arrays
    histogram: type[SparseCounts] | None = None
    lasting: int = 0


def input_shape(cells: int, columns: int, estimated: tuple[int, int] = (0, 0)) -> Shape:
    """What is counted when a prediction is read.

    `cells` and `columns` are those of the layout, `estimated` the bins and classes that quality is
    estimated from.
    """
    return Shape(
        {
            "rows": ((1,), np.int64),
            "errors": ((1,), np.int64),
            "slow": ((1,), np.int64),
            "latency": ((len(LATENCY_BOUNDS) + 1,), np.int64),
            "latency_sum": ((1,), np.float64),
            "cells": ((cells,), np.int64),
            "failed": ((columns, len(COUNTED)), np.int64),
            "estimated": (estimated, np.int64),
        },
        lasting=5,
    )


class Tally:
    """Named additive arrays, and for judged rows a sparse histogram."""

    __slots__ = ("arrays", "histogram")

    def __init__(self, arrays: Mapping[str, NDArray[Any]], histogram: SparseCounts | None = None) -> None:
        self.arrays = arrays
        self.histogram = histogram

    @classmethod
    def zeros(cls, shape: Shape) -> Self:
        """The tally of no rows."""
        arrays = {name: np.zeros(size, dtype) for name, (size, dtype) in shape.arrays.items()}
        return cls(arrays, shape.histogram.empty() if shape.histogram else None)

    @classmethod
    def sum(cls, shape: Shape, parts: Iterable[Self]) -> Self:
        """The tally of all parts together."""
        parts = list(parts)
        if not parts:
            return cls.zeros(shape)
        arrays = {name: np.sum([part.arrays[name] for part in parts], axis=0) for name in shape.arrays}
        histograms = [part.histogram for part in parts if part.histogram is not None]
        return cls(arrays, shape.histogram.merge(histograms) if shape.histogram else None)

    def __getitem__(self, name: str) -> NDArray[Any]:
        return self.arrays[name]

    def __add__(self, other: Self) -> Self:
        arrays = {name: array + other.arrays[name] for name, array in self.arrays.items()}
        if self.histogram is None or other.histogram is None:
            return type(self)(arrays)
        return type(self)(arrays, self.histogram + other.histogram)

    def scaled(self, times: int) -> Self:
        """The arrays of this many times the rows; a histogram is left out unless it is the same."""
        if times == 1:
            return self
        empty = None if self.histogram is None else self.histogram.empty()
        return type(self)({name: array * times for name, array in self.arrays.items()}, empty)

    def count(self, name: str) -> int:
        """The one number of an array of size 1."""
        return int(self.arrays[name][0])

    def to_bytes(self, shape: Shape) -> bytes:
        """The stored form: what lasts, the histogram after its length, then what depends on a profile."""
        names = list(shape.arrays)
        parts = [_stored(self.arrays[name]) for name in names[: shape.lasting]]
        if self.histogram is not None:
            histogram = self.histogram.to_bytes()
            parts += [len(histogram).to_bytes(4, "little"), histogram]
        return b"".join(parts + [_stored(self.arrays[name]) for name in names[shape.lasting :]])

    @classmethod
    def from_bytes(cls, shape: Shape, data: bytes) -> Self:
        """Read the form that `to_bytes` writes; raises ValueError where it does not fit `shape`."""
        tally, start = cls._lasting(shape, data)
        rest, end = _read(dict(list(shape.arrays.items())[shape.lasting :]), data, start)
        if end != len(data):
            raise ValueError(f"a stored tally has {len(data)} bytes, expected {end}")
        return cls({**tally.arrays, **rest}, tally.histogram)

    @classmethod
    def lasting(cls, shape: Shape, data: bytes) -> Self:
        """Read what means the same with any profile; all other arrays are 0."""
        return cls._lasting(shape, data)[0]

    @classmethod
    def _lasting(cls, shape: Shape, data: bytes) -> tuple[Self, int]:
        zeros = cls.zeros(shape)
        kept, start = _read(dict(list(shape.arrays.items())[: shape.lasting]), data, 0)
        if shape.histogram is None:
            return cls({**zeros.arrays, **kept}), start
        end = start + 4 + int.from_bytes(data[start : start + 4], "little")
        return cls({**zeros.arrays, **kept}, shape.histogram.from_bytes(data[start + 4 : end])), end


def _stored(array: NDArray[Any]) -> bytes:
    return array.astype(array.dtype.newbyteorder("<")).tobytes()


def _read(shapes: Arrays, data: bytes, start: int) -> tuple[dict[str, NDArray[Any]], int]:
    """Read arrays that stand one behind the other from `start` on; also where they end."""
    arrays: dict[str, NDArray[Any]] = {}
    for name, (size, dtype) in shapes.items():
        stored = np.dtype(dtype).newbyteorder("<")
        items = int(np.prod(size))
        arrays[name] = np.frombuffer(data, stored, items, start).astype(dtype).reshape(size)
        start += items * stored.itemsize
    return arrays, start
