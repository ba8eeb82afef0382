"""Rows as columns: what decoding a block of a log gives."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ml_exporter.stats.arrays import BoolArray, FloatArray, IntArray

NEGATIVE, POSITIVE, ABSENT, INVALID = 0, 1, -1, -2
"""Codes of classes: the first two (all that a binary model has), none given, and a value that is none."""


Source: TypeAlias = Literal["number", "text", "timestamp", "embedding"]
"""What the number of a numeric column is made of."""

BINARY_CLASSES = ("negative", "positive")

ClassArray: TypeAlias = NDArray[np.int16]
"""Codes of classes, and those below 0 for none and for what is no class."""


@dataclass(frozen=True)
class Outputs:
    """What a model answered in n rows.

    `times` int64 microseconds since 1970. `scores` float64, NaN where none, infinity where something
    else than a number: P(positive), the largest probability of several classes, or the predicted
    number. `classes` int16 codes as above, all ABSENT where numbers are predicted. `details` float64:
    the probability of each class, shape (n, k), or a predicted interval's ends, shape (n, 2); None
    where the log has neither.
    """

    times: IntArray
    scores: FloatArray
    classes: ClassArray
    details: FloatArray | None

    def __len__(self) -> int:
        return int(self.times.size)


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
class Vectors:
    """Vectors of some of n rows, shape (k, d): `place` has those of each row, -1 where it has none here.

    Each of them stands for `weight` rows.
    """

    values: FloatArray
    place: IntArray
    weight: int

    def take(self, rows: BoolArray) -> Vectors:
        """Those of the rows where `rows` is true."""
        return Vectors(self.values, self.place[rows], self.weight)


@dataclass(frozen=True)
class Predictions:
    """n accepted predictions.

    `ids` uint64 (see `sql.id_hash`), `versions` codes into `version_names`, `labels` float64 with NaN
    where there is none (None where the log has no labels at all), `latency` seconds with NaN where
    none, `errors` true where the record carries one, `numbers` and `categories` the features: a
    category is a code into `category_values` of the column, then its length for an unseen one and
    length + 1 for missing. `times`, `scores`, `classes` and `details` as in Outputs, `classes` and
    labels being codes into `class_names`, one more for a class that is not among them. `segments`
    has those that are no categories: codes into the values given, then "other" and "missing".
    `lengths` of texts are in characters, `ages` of time stamps in seconds; `differing` is true where a
    text does not match the pattern that its column has. `norms` are those of embeddings, `vectors` some
    of these.
    """

    ids: np.ndarray[tuple[int], np.dtype[np.uint64]]
    times: IntArray
    versions: IntArray
    version_names: tuple[str, ...]
    scores: FloatArray
    classes: ClassArray
    labels: FloatArray | None
    latency: FloatArray
    errors: BoolArray
    numbers: Mapping[str, Numbers]
    categories: Mapping[str, IntArray]
    category_values: Mapping[str, Sequence[str]]
    details: FloatArray | None = None
    class_names: tuple[str, ...] = BINARY_CLASSES
    segments: Mapping[str, tuple[IntArray, Sequence[str]]] = field(default_factory=dict)
    lengths: Mapping[str, Numbers] = field(default_factory=dict)
    ages: Mapping[str, Numbers] = field(default_factory=dict)
    differing: Mapping[str, BoolArray] = field(default_factory=dict)
    norms: Mapping[str, Numbers] = field(default_factory=dict)
    vectors: Mapping[str, Vectors] = field(default_factory=dict)

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
            None if self.details is None else self.details[rows],
            self.class_names,
            {name: (codes[rows], names) for name, (codes, names) in self.segments.items()},
            {name: column.take(rows) for name, column in self.lengths.items()},
            {name: column.take(rows) for name, column in self.ages.items()},
            {name: found[rows] for name, found in self.differing.items()},
            {name: column.take(rows) for name, column in self.norms.items()},
            {name: found.take(rows) for name, found in self.vectors.items()},
        )

    def derived(self, source: Source) -> Mapping[str, Numbers]:
        """The columns whose numbers are those of the record, or come from a text or a time stamp."""
        return {
            "number": self.numbers,
            "text": self.lengths,
            "timestamp": self.ages,
            "embedding": self.norms,
        }[source]

    def without_features(self) -> Predictions:
        """The same rows without what is only counted, which is most of what a block has."""
        return replace(
            self, numbers={}, categories={}, lengths={}, ages={}, differing={}, norms={}, vectors={}
        )


@dataclass(frozen=True)
class Labels:
    """n accepted labels: ids uint64, times int64 microseconds (read time where none), labels float64.

    A label is a number, or a code into `class_names`.
    """

    ids: np.ndarray[tuple[int], np.dtype[np.uint64]]
    times: IntArray
    labels: FloatArray
    class_names: tuple[str, ...] = BINARY_CLASSES

    def take(self, rows: BoolArray) -> Labels:
        """The rows where `rows` is true."""
        return Labels(self.ids[rows], self.times[rows], self.labels[rows], self.class_names)


Outcomes = Counter[str]
"""Lines by their one outcome: accepted, or the reason of rejection."""
