"""Counts that add up: what is kept of rows.

A tally is a set of named arrays (and a sparse histogram of scores); the tally of two sets of rows
together is the sum of their tallies. Nothing here knows time or models.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from ml_exporter.stats.scores import ScoreHistogram

LATENCY_BOUNDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Upper bounds of the latency buckets, in seconds."""


@dataclass(frozen=True)
class Shape:
    """Which arrays a kind of tally has: name to (shape, dtype). Order is that of the stored form."""

    arrays: Mapping[str, tuple[tuple[int, ...], type[np.generic]]]
    scored: bool = False


def input_shape(cells: int, columns: int) -> Shape:
    """What is counted when a prediction is read; `cells` and `columns` are those of the layout."""
    return Shape(
        {
            "rows": ((1,), np.int64),
            "errors": ((1,), np.int64),
            "slow": ((1,), np.int64),
            "latency": ((len(LATENCY_BOUNDS) + 1,), np.int64),
            "latency_sum": ((1,), np.float64),
            "cells": ((cells,), np.int64),
            "outside": ((columns,), np.int64),
        }
    )


JUDGED = Shape(
    {
        "mature": ((1,), np.int64),
        "labelled": ((1,), np.int64),
        "labels": ((2,), np.int64),  # negative, positive
        "confusion": ((2, 2), np.int64),  # [actual, predicted]
        "scored": ((1,), np.int64),  # labelled rows that carry a score
        "losses": ((4,), np.float64),  # sums of log loss, its square, squared error, its square
    },
    scored=True,
)
"""What is counted when a prediction is mature."""


class Tally:
    """Named additive arrays, and for judged rows the histogram of their scores."""

    __slots__ = ("arrays", "scores")

    def __init__(self, arrays: Mapping[str, NDArray[Any]], scores: ScoreHistogram | None = None) -> None:
        self.arrays = arrays
        self.scores = scores

    @classmethod
    def zeros(cls, shape: Shape) -> Self:
        """The tally of no rows."""
        arrays = {name: np.zeros(size, dtype) for name, (size, dtype) in shape.arrays.items()}
        return cls(arrays, ScoreHistogram.empty() if shape.scored else None)

    @classmethod
    def sum(cls, shape: Shape, parts: Iterable[Self]) -> Self:
        """The tally of all parts together."""
        parts = list(parts)
        if not parts:
            return cls.zeros(shape)
        arrays = {name: np.sum([part.arrays[name] for part in parts], axis=0) for name in shape.arrays}
        scores = [part.scores for part in parts if part.scores is not None]
        return cls(arrays, ScoreHistogram.merge(scores) if shape.scored else None)

    def __getitem__(self, name: str) -> NDArray[Any]:
        return self.arrays[name]

    def __add__(self, other: Self) -> Self:
        arrays = {name: array + other.arrays[name] for name, array in self.arrays.items()}
        if self.scores is None or other.scores is None:
            return type(self)(arrays)
        return type(self)(arrays, self.scores + other.scores)

    def count(self, name: str) -> int:
        """The one number of an array of size 1."""
        return int(self.arrays[name][0])

    def to_bytes(self) -> bytes:
        """The stored form: the arrays little-endian in order, then the histogram."""
        parts = [array.astype(array.dtype.newbyteorder("<")).tobytes() for array in self.arrays.values()]
        return b"".join(parts) + (self.scores.to_bytes() if self.scores is not None else b"")

    @classmethod
    def from_bytes(cls, shape: Shape, data: bytes) -> Self:
        """Read the form that `to_bytes` writes; raises ValueError where it does not fit `shape`."""
        arrays: dict[str, NDArray[Any]] = {}
        start = 0
        for name, (size, dtype) in shape.arrays.items():
            stored = np.dtype(dtype).newbyteorder("<")
            items = int(np.prod(size))
            arrays[name] = np.frombuffer(data, stored, items, start).astype(dtype).reshape(size)
            start += items * stored.itemsize
        if shape.scored:
            return cls(arrays, ScoreHistogram.from_bytes(data[start:]))
        if start != len(data):
            raise ValueError(f"a stored tally has {len(data)} bytes, expected {start}")
        return cls(arrays)
