"""How a model's answers and labels stand in a log's record, by task."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ml_exporter.sources import sql
from ml_exporter.sources.batch import ABSENT, BINARY_CLASSES, INVALID, ClassArray
from ml_exporter.sources.names import Names
from ml_exporter.sources.reader import Columns, Reader
from ml_exporter.stats.arrays import FloatArray


@dataclass(frozen=True)
class Answers:
    """Columns of n rows as in `batch.Predictions`."""

    scores: FloatArray
    classes: ClassArray
    labels: FloatArray | None
    details: FloatArray | None
    class_names: tuple[str, ...]


class AnswerForm(ABC):
    """Where the answer and the label stand, and what they are made of.

    `number` is the path of the number that every answer has, None where there is none: its value
    comes as the column "score". `numbers` are paths that are read as numbers, `texts` as text;
    `names` are learned from the columns that they are keyed by.
    """

    number: str | None = None
    numbers: Sequence[str] = ()
    texts: Sequence[str] = ()
    names: Mapping[str, Names] = {}

    @abstractmethod
    def expressions(self, reader: Reader) -> dict[str, str]:
        """SQL of the columns that `read` takes, beside "score"."""

    @abstractmethod
    def read(self, columns: Columns, scores: FloatArray) -> Answers:
        """Make answers of columns; `scores` has NaN for none and infinity for what is no number."""

    def labels(self, column: Any) -> tuple[FloatArray, tuple[str, ...]]:
        """Labels of the column "label" as numbers with NaN where there is none, and the classes' names.

        What is no label is infinite.
        """
        codes = np.asarray(np.ma.filled(column, ABSENT), np.float64)
        codes[codes == INVALID] = np.inf
        codes[codes == ABSENT] = np.nan
        return codes, BINARY_CLASSES


class BinaryForm(AnswerForm):
    """P(positive) and a decision; `positive` is the text of the positive class."""

    def __init__(self, score: str | None, prediction: str | None, label: str | None, positive: str) -> None:
        self.number = score
        self._prediction, self._label, self._positive = prediction, label, positive
        self.numbers = [score] if score else []
        self.texts = [path for path in (prediction, label) if path]

    def expressions(self, reader: Reader) -> dict[str, str]:
        """Codes of the decision and of the label."""
        return {"class": self._class(reader, self._prediction), "label": self._class(reader, self._label)}

    def read(self, columns: Columns, scores: FloatArray) -> Answers:
        """A score without a decision decides at one half."""
        classes = columns["class"].astype(np.int16)
        derived = (classes == ABSENT) & np.isfinite(scores)
        classes[derived] = scores[derived] >= 0.5
        labels, names = self.labels(columns["label"])
        # A label that is neither class is none.
        known = np.where(np.isfinite(labels), labels, np.nan)
        return Answers(scores, classes, known if self._label else None, None, names)

    def _class(self, reader: Reader, path: str | None) -> str:
        return sql.binary_class(reader.column(path), self._positive) if path else f"{ABSENT}::TINYINT"


class ClassForm(AnswerForm):
    """A class of several, perhaps with the probability of each.

    `classes` are known beforehand, others are learned up to `limit`; `probabilities` are the paths of
    the known ones' probabilities.
    """

    def __init__(
        self,
        prediction: str | None,
        label: str | None,
        classes: Sequence[str],
        probabilities: Mapping[str, str],
        limit: int,
    ) -> None:
        self._predicted = Names(prediction, classes, limit) if prediction else None
        self._known = Names(label, classes, limit) if label else None
        pairs = (("class", self._predicted), ("label", self._known))
        self.names = {key: names for key, names in pairs if names}
        self._classes = tuple(classes)
        self._probabilities = dict(probabilities)
        self.numbers = list(probabilities.values())
        self.texts = [path for path in (prediction, label) if path]

    def expressions(self, reader: Reader) -> dict[str, str]:
        """Codes of both classes, and the probabilities."""
        found = {f"p {name}": reader.column(path) for name, path in self._probabilities.items()}
        for key in ("class", "label"):
            found[key] = self.names[key].expression(reader) if key in self.names else f"{ABSENT}::TINYINT"
        return found

    def read(self, columns: Columns, scores: FloatArray) -> Answers:
        """The score is the largest probability; without a class it decides."""
        names = self._names()
        details = self._details(columns)
        classes = self._codes(columns["class"], self._predicted, names, scores.size)
        top = scores
        if details is not None:
            lacking = np.isnan(details)
            top = np.where(lacking.any(axis=1), np.inf, np.max(details, axis=1, initial=0.0))
            top[lacking.all(axis=1)] = np.nan
            derived = (classes == ABSENT) & np.isfinite(top)
            classes[derived] = np.argmax(details[derived], axis=1)
        labels = None
        if self._known:
            codes = self._codes(columns["label"], self._known, names, scores.size)
            labels = np.where(codes == ABSENT, np.nan, codes.astype(np.float64))
        return Answers(top, classes, labels, details, names)

    def labels(self, column: Any) -> tuple[FloatArray, tuple[str, ...]]:
        """Codes of the labels of a label log."""
        assert self._known is not None
        names = tuple(self._known.names)
        codes = self._codes(column, self._known, names, len(column))
        return np.where(codes == ABSENT, np.nan, codes.astype(np.float64)), names

    def _names(self) -> tuple[str, ...]:
        """All classes that are known by now, of both columns."""
        learned = (name for names in self.names.values() for name in names.names)
        return tuple(dict.fromkeys([*self._classes, *learned]))

    def _codes(self, column: Any, own: Names | None, names: Sequence[str], size: int) -> ClassArray:
        """Codes into `names`, one more for a class that is not among them."""
        if own is None:
            return np.full(size, ABSENT, np.int16)
        places = [names.index(name) for name in own.names]
        return np.asarray([*places, len(names), ABSENT], np.int16)[own.codes(column)]

    def _details(self, columns: Columns) -> FloatArray | None:
        if not self._probabilities:
            return None
        found = [np.ma.filled(columns[f"p {name}"], np.nan) for name in self._probabilities]
        return np.stack(found, axis=1).astype(np.float64)


class NumberForm(AnswerForm):
    """A predicted number, perhaps with the ends of an interval; the label is a number."""

    def __init__(
        self, prediction: str | None, label: str | None, interval: tuple[str, str] | None = None
    ) -> None:
        self.number = prediction
        self._label, self._interval = label, interval
        self.numbers = [path for path in (prediction, *(interval or ())) if path]
        self.texts = [label] if label else []

    def expressions(self, reader: Reader) -> dict[str, str]:
        """The label and the interval's ends as numbers."""
        found = {"label": "NULL::DOUBLE"}
        if self._label:
            text = reader.column(self._label)
            # Infinity stands for what is no number, so that it is told from no label.
            found["label"] = (
                f"CASE WHEN {text} IS NOT NULL THEN coalesce(try_cast({text} AS DOUBLE), 'inf') END"
            )
        for key, path in zip(("lower", "upper"), self._interval or (), strict=False):
            found[key] = reader.column(path)
        return found

    def read(self, columns: Columns, scores: FloatArray) -> Answers:
        """Labels that are not finite are none."""
        labels, _ = self.labels(columns["label"])
        labels[~np.isfinite(labels)] = np.nan
        details = None
        if self._interval:
            ends = [np.ma.filled(columns[key], np.nan) for key in ("lower", "upper")]
            details = np.stack(ends, axis=1).astype(np.float64)
        classes = np.full(scores.size, ABSENT, np.int16)
        return Answers(scores, classes, labels if self._label else None, details, ())

    def labels(self, column: Any) -> tuple[FloatArray, tuple[str, ...]]:
        """Numbers as they are; what is none is infinite."""
        values = np.asarray(np.ma.filled(column, np.nan), np.float64)
        # DuckDB reads nan as a number; as a label it says nothing.
        values[np.isnan(np.ma.getdata(column)) & ~np.ma.getmaskarray(column)] = np.inf
        return values, ()
