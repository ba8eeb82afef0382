"""Rows as columns: what decoding a block of a log gives."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ml_exporter.stats.arrays import BoolArray, FloatArray, IntArray

NEGATIVE, POSITIVE, ABSENT, INVALID = 0, 1, -1, -2
"""Codes of a binary prediction or label: the two classes, none given, and a value that is neither."""


@dataclass(frozen=True)
class Numbers:
    """A numeric column of n rows; masks are None where no row is concerned."""

    values: FloatArray
    missing: BoolArray | None
    wrong_type: BoolArray | None

    def take(self, rows: BoolArray) -> Numbers:
        """The rows where `rows` is true."""
        missing = None if self.missing is None else self.missing[rows]
        wrong = None if self.wrong_type is None else self.wrong_type[rows]
        return Numbers(self.values[rows], missing, wrong)


@dataclass(frozen=True)
class Predictions:
    """n accepted predictions.

    `ids` uint64 (see `sql.id_hash`), `times` int64 microseconds since 1970, `versions` codes into
    `version_names`, `scores` float64 with NaN where none and infinity where something else than a
    number, `classes` and `labels` int8 as above (`labels` is None where the log has none), `latency`
    seconds with NaN where none, `errors` true where the record carries one, `numbers` and
    `categories` the features: a category is a code into `category_values` of the column, then its
    length for an unseen one and length + 1 for missing.
    """

    ids: np.ndarray[tuple[int], np.dtype[np.uint64]]
    times: IntArray
    versions: IntArray
    version_names: tuple[str, ...]
    scores: FloatArray
    classes: np.ndarray[tuple[int], np.dtype[np.int8]]
    labels: np.ndarray[tuple[int], np.dtype[np.int8]] | None
    latency: FloatArray
    errors: BoolArray
    numbers: Mapping[str, Numbers]
    categories: Mapping[str, IntArray]
    category_values: Mapping[str, Sequence[str]]

    def __len__(self) -> int:
        return int(self.times.size)

    def take(self, rows: BoolArray) -> Predictions:
        """The rows where `rows` is true."""
        return Predictions(
            self.ids[rows],
            self.times[rows],
            self.versions[rows],
            self.version_names,
            self.scores[rows],
            self.classes[rows],
            None if self.labels is None else self.labels[rows],
            self.latency[rows],
            self.errors[rows],
            {name: column.take(rows) for name, column in self.numbers.items()},
            {name: codes[rows] for name, codes in self.categories.items()},
            self.category_values,
        )


@dataclass(frozen=True)
class Labels:
    """n accepted labels: ids uint64, times int64 microseconds (read time where none), labels int8."""

    ids: np.ndarray[tuple[int], np.dtype[np.uint64]]
    times: IntArray
    labels: np.ndarray[tuple[int], np.dtype[np.int8]]

    def take(self, rows: BoolArray) -> Labels:
        """The rows where `rows` is true."""
        return Labels(self.ids[rows], self.times[rows], self.labels[rows])


Outcomes = Counter[str]
"""Lines by their one outcome: accepted, or the reason of rejection."""
