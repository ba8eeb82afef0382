"""A block of a log becomes columns, and every record of it ends in exactly one outcome.

DuckDB parses with the types that the profile expects. First strictly: a block that passes has no
malformed record and no value of a wrong type, so every NULL is truly missing. Only if it does not
pass is it read leniently, and then the records and values in question are looked at once more.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ml_exporter.sources import outcomes, sql
from ml_exporter.sources.answers import AnswerForm
from ml_exporter.sources.batch import Labels, Numbers, Outcomes, Predictions, Vectors
from ml_exporter.sources.blocks import Block
from ml_exporter.sources.database import Database
from ml_exporter.sources.formats import READERS
from ml_exporter.sources.names import Names
from ml_exporter.sources.outcomes import Letter
from ml_exporter.sources.reader import Columns, Reader
from ml_exporter.stats.arrays import BoolArray, FloatArray, IntArray

VECTORS = 1_000
"""Of so many rows of a block, about, the whole vectors of embeddings are looked at."""
NAMED = 8
"""So many records of a block are looked at for the names of their features where it holds others too."""
VERSION_CODES = 64
"""So many versions are told apart; all others are "other"."""
SEGMENT_CODES = 250
"""So many values of a segment that is no category of the profile are told apart."""
UNKNOWN_VERSION = "unknown"
OTHER_VERSION = "other"


@dataclass(frozen=True)
class Fields:
    """Dotted paths of a record's fields, None where the log has no such field."""

    timestamp: str | None
    id: str | None = None
    version: str | None = None
    latency_seconds: str | None = None
    error: str | None = None


class PredictionDecoder:
    """Decodes blocks of a model's prediction log.

    `answers` says how an answer stands in a record. `numbers` and `categories` map feature names to
    dotted paths; `values` has each category column's list; `segments` maps names of segments that are
    no categories to their paths; `versions` are names that are known beforehand; `database` is shared
    by decoders. Raises ValueError where the paths contradict each other. `texts` and `stamps` are as
    `numbers` and have the columns whose number is a text's length, or a time stamp's age; `patterns` has a
    regular expression (of RE2) for each column of text whose values must match it; `lists` has path and
    length of embeddings, a path once for each length; `where` has the texts that a
    record must have at some paths to be a prediction. Not for use by two threads at once.
    """

    def __init__(
        self,
        fields: Fields,
        answers: AnswerForm,
        numbers: Mapping[str, str],
        categories: Mapping[str, str],
        values: Mapping[str, Sequence[str]],
        versions: Sequence[str] = (),
        form: str = "jsonl",
        segments: Mapping[str, str] = {},
        database: Database | None = None,
        texts: Mapping[str, str] = {},
        stamps: Mapping[str, str] = {},
        patterns: Mapping[str, str] = {},
        lists: Mapping[str, tuple[str, int]] = {},
        where: Mapping[str, Sequence[str]] = {},
    ) -> None:
        self._fields = fields
        self._answers = answers
        self._numbers = dict(numbers)
        self._texts = dict(texts)
        self._stamps = dict(stamps)
        self._patterns = dict(patterns)
        self._lists = dict(lists)
        self._where = where
        self._categories = dict(categories)
        self._values = values
        self._versions = Names(fields.version, versions, VERSION_CODES) if fields.version else None
        self._segments = {name: Names(path, (), SEGMENT_CODES) for name, path in segments.items()}
        self._types = self._column_types()
        enumerations = {f"c {name}": values[name] for name in categories}
        times = [*_times(fields), *self._stamps.values()]
        self._reader = READERS[form](self._types, times, enumerations, database)
        self._select = self._expressions()
        self._reasons: IntArray = np.zeros(0, np.int64)
        self.ahead = 0
        """How far time stamps of the block are ahead of the clock, in microseconds."""

    def decode(self, block: Block, now: int) -> tuple[Predictions, Outcomes]:
        """Decode a block; `now` is the wall clock in microseconds, which `future` is judged by."""
        self._reader.load(block)
        columns, sound = self._reader.columns(self._select)
        learned = self._learn(columns)
        if learned:
            codes, _ = self._reader.columns({key: self._select[key] for key in learned})
            columns = {**columns, **codes}
        self.ahead = outcomes.ahead(columns, now)
        self._reasons = outcomes.outcomes_of(columns, now, needs_id=self._fields.id is not None)
        accepted = self._reasons == outcomes.ACCEPTED
        wrong = self._wrong_types(columns, sound, accepted)
        outcomes.settle(self._reasons, columns, self._reader, self._fields.id, self._fields.timestamp)
        batch = self._batch(columns, wrong)
        return batch if accepted.all() else batch.take(accepted), outcomes.count(self._reasons, self._reader)

    def letters(self) -> list[Letter]:
        """Return what was rejected of the last block."""
        return outcomes.letters(self._reasons, self._reader)

    def names(self, path: str) -> frozenset[str]:
        """Return the names in the object at a path, as far as a sample of the last block tells."""
        if not self._where:
            return self._reader.names(path)
        accepted = np.flatnonzero(self._reasons == outcomes.ACCEPTED)
        return self._reader.names(path, accepted[:: max(1, accepted.size // NAMED)][:NAMED].tolist())

    def _column_types(self) -> dict[str, str]:
        """Return the type to read each path with: text where anything needs it as text."""
        fields, answers = self._fields, self._answers
        numbers = (fields.latency_seconds, *answers.numbers, *self._numbers.values())
        segments = (names.path for names in self._segments.values())
        texts = (
            fields.timestamp,
            fields.id,
            fields.version,
            fields.error,
            *answers.texts,
            *segments,
            *self._where,
        )
        columns = (self._categories, self._texts, self._stamps)
        types = {path: "DOUBLE" for path in numbers if path}
        types |= {path: "VARCHAR" for path in texts if path}
        types |= {path: "VARCHAR" for paths in columns for path in paths.values()}
        return types | {path: "VARCHAR" for path, _ in self._lists.values()}

    def _expressions(self) -> dict[str, str]:
        fields, column = self._fields, self._reader.column
        error = column(fields.error) if fields.error else "NULL"
        select = {
            "id": sql.id_hash(column(fields.id)) if fields.id else "0::UBIGINT",
            **_time_columns(self._reader, fields.timestamp),
            "other": _others(self._reader, self._where),
            **self._names(),
            **self._answers.expressions(self._reader),
            "score": self._number(self._answers.number),
            "latency": self._number(fields.latency_seconds),
            "error": f"coalesce({error}, '') NOT IN ('', 'false', 'null')",
        }
        select |= {f"n {name}": self._number(path) for name, path in self._numbers.items()}
        for name, path in self._categories.items():
            select[f"c {name}"] = sql.member(column(path), f"c {name}", len(self._values[name]))
        return select | self._derived()

    def _derived(self) -> dict[str, str]:
        """Numbers that are made of something else, and whether texts are what they must be."""
        column, time = self._reader.column, self._reader.time
        select = {f"l {name}": sql.characters(column(path)) for name, path in self._texts.items()}
        for name, path in self._stamps.items():
            select[f"a {name}"] = sql.age(time(self._fields.timestamp or ""), time(path))
            select[f"t {name}"] = f"{column(path)} IS NOT NULL"
        for name, (path, size) in self._lists.items():
            select[f"v {name}"] = sql.norm(column(path), size)
            select[f"w {name}"] = f"{column(path)} IS NOT NULL"
        for name, path in ({**self._categories, **self._texts}).items():
            if name in self._patterns:
                select[f"r {name}"] = sql.differs(column(path), self._patterns[name])
        return select

    def _names(self) -> dict[str, str]:
        """Codes that hang on what was learned so far."""
        found = {f"s {name}": names.expression(self._reader) for name, names in self._segments.items()}
        return found | {"version": self._versions.expression(self._reader) if self._versions else "0"}

    def _number(self, path: str | None) -> str:
        if not path:
            return "NULL::DOUBLE"
        column = self._reader.column(path)
        return column if self._types[path] == "DOUBLE" else f"try_cast({column} AS DOUBLE)"

    def _learn(self, columns: Columns) -> list[str]:
        """Take up names that are met for the first time; return the columns that have any."""
        every = {f"s {name}": names for name, names in self._segments.items()} | dict(self._answers.names)
        if self._versions:
            every["version"] = self._versions
        learned = _learn(self._reader, columns, every)
        if learned:
            self._select |= self._names() | self._answers.expressions(self._reader)
        return learned

    def _version_columns(self, codes: Any) -> tuple[IntArray, tuple[str, ...]]:
        if self._versions is None:
            return np.zeros(codes.size, np.int64), (UNKNOWN_VERSION,)
        return self._versions.codes(codes), (*self._versions.names, OTHER_VERSION, UNKNOWN_VERSION)

    def _segment_columns(self, columns: Columns) -> dict[str, tuple[IntArray, Sequence[str]]]:
        found = self._segments.items()
        return {name: (names.codes(columns[f"s {name}"]), tuple(names.names)) for name, names in found}

    def _wrong_types(self, columns: Columns, sound: bool, accepted: BoolArray) -> dict[str, BoolArray]:
        """Return where a number should stand and something else does, by column."""
        numbers = {f"n {name}": path for name, path in self._numbers.items()}
        if self._answers.number:
            numbers["score"] = self._answers.number
        # What is read as text passes the strict look whatever it is.
        unsure = {key: path for key, path in numbers.items() if not (sound and self._types[path] == "DOUBLE")}
        null = {key: np.ma.getmaskarray(columns[key]) & accepted for key in unsure}
        suspects = {key: path for key, path in unsure.items() if null[key].any()}
        return self._reader.wrong_types(suspects, null) if suspects else {}

    def _batch(self, columns: Columns, wrong: Mapping[str, BoolArray]) -> Predictions:
        versions, names = self._version_columns(columns["version"])
        answered = self._answers.read(columns, _scores(columns["score"], wrong.get("score")))
        return Predictions(
            np.ma.filled(columns["id"], 0),
            np.ma.filled(columns["time"], 0),
            versions,
            names,
            answered.scores,
            answered.classes,
            answered.labels,
            np.ma.filled(columns["latency"], np.nan),
            columns["error"],
            {name: _numbers(columns[f"n {name}"], wrong.get(f"n {name}")) for name in self._numbers},
            {name: columns[f"c {name}"].astype(np.int64) for name in self._categories},
            self._values,
            answered.details,
            answered.class_names,
            self._segment_columns(columns),
            {name: _numbers(columns[f"l {name}"], None) for name in self._texts},
            {name: _derived_numbers(columns[f"a {name}"], columns[f"t {name}"]) for name in self._stamps},
            {name: columns[f"r {name}"] for name in self._patterns if f"r {name}" in columns},
            {name: _derived_numbers(columns[f"v {name}"], columns[f"w {name}"]) for name in self._lists},
            {name: self._vectors(columns[f"v {name}"], *own) for name, own in self._lists.items()},
        )

    def _vectors(self, norms: Any, path: str, size: int) -> Vectors:
        """Vectors of every so many rows, so that a block has not many more than a thousand."""
        every = max(1, -(-norms.size // VECTORS))
        there = ~np.ma.getmaskarray(norms)
        there[np.arange(norms.size) % every > 0] = False
        values = self._reader.vectors(path, size, every)
        place = np.full(norms.size, -1, np.int64)
        place[there] = np.arange(len(values))
        place[~np.isfinite(np.ma.filled(norms, np.nan))] = -1
        return Vectors(values, place, every)


class LabelDecoder:
    """Decodes blocks of a label log; `where` says which records are labels. Not for use by two threads at once."""

    def __init__(
        self,
        fields: Fields,
        answers: AnswerForm,
        form: str = "jsonl",
        database: Database | None = None,
        where: Mapping[str, Sequence[str]] = {},
    ) -> None:
        assert fields.id
        self._fields = fields
        self._answers = answers
        types = {path: "VARCHAR" for path in (fields.id, fields.timestamp, *answers.texts, *where) if path}
        self._reader = READERS[form](types, _times(fields), None, database)
        self._reasons: IntArray = np.zeros(0, np.int64)
        self.ahead = 0
        """How far time stamps of the block are ahead of the clock, in microseconds."""
        self._select = {
            "id": sql.id_hash(self._reader.column(fields.id)),
            **_time_columns(self._reader, fields.timestamp),
            "other": _others(self._reader, where),
            "label": answers.expressions(self._reader)["label"],
        }

    def decode(self, block: Block, now: int) -> tuple[Labels, Outcomes]:
        """Decode a block; a label without a time stamp takes `now` (microseconds)."""
        self._reader.load(block)
        columns = self._columns()
        values, names = self._answers.labels(columns["label"])
        self.ahead = outcomes.ahead(columns, now)
        self._reasons = outcomes.outcomes_of(columns, now, needs_id=True, needs_time=False)
        accepted = self._reasons == outcomes.ACCEPTED
        self._reasons[accepted & np.isnan(values)] = outcomes.NO_LABEL
        self._reasons[accepted & np.isinf(values)] = outcomes.BAD_LABEL
        accepted = self._reasons == outcomes.ACCEPTED
        outcomes.settle(self._reasons, columns, self._reader, self._fields.id, None)
        times = np.where(np.ma.getmaskarray(columns["time"]), now, np.ma.filled(columns["time"], 0))
        labels = Labels(np.ma.filled(columns["id"], 0), times, values, names)
        return labels if accepted.all() else labels.take(accepted), outcomes.count(
            self._reasons, self._reader
        )

    def _columns(self) -> Columns:
        columns, _ = self._reader.columns(self._select)
        if _learn(self._reader, columns, self._answers.names):
            self._select["label"] = self._answers.expressions(self._reader)["label"]
            columns, _ = self._reader.columns(self._select)
        return columns

    def letters(self) -> list[Letter]:
        """Return what was rejected of the last block."""
        return outcomes.letters(self._reasons, self._reader)


def _learn(reader: Reader, columns: Columns, every: Mapping[str, Names]) -> list[str]:
    return [key for key, names in every.items() if names.learn(reader, columns[key])]


def _others(reader: Reader, where: Mapping[str, Sequence[str]]) -> str:
    """Whether a record is another than those that are wanted."""
    return sql.other_than({reader.column(path): values for path, values in where.items()})


def _times(fields: Fields) -> list[str]:
    return [fields.timestamp] if fields.timestamp else []


def _time_columns(reader: Reader, path: str | None) -> dict[str, str]:
    if not path:
        return {"time": "NULL::BIGINT", "timed": "false"}
    return {"time": reader.time(path), "timed": f"{reader.column(path)} IS NOT NULL"}


def _scores(column: Any, wrong: BoolArray | None) -> FloatArray:
    """Return scores with NaN where there is none, and infinity for what is no number."""
    scores: FloatArray = np.ma.filled(column, np.inf)
    scores[np.isnan(scores)] = np.inf
    absent = np.ma.getmaskarray(column)
    scores[absent if wrong is None else absent & ~wrong] = np.nan
    return scores


def _numbers(column: Any, wrong: BoolArray | None) -> Numbers:
    if not np.ma.is_masked(column):
        return Numbers(np.ma.getdata(column), None, None)
    absent = np.ma.getmaskarray(column)
    return Numbers(column.filled(np.nan), absent if wrong is None else absent & ~wrong, wrong)


def _derived_numbers(column: Any, given: BoolArray) -> Numbers:
    """Return numbers made of something else; where that is there and gives none, its type is wrong."""
    wrong = np.ma.getmaskarray(column) & given
    return _numbers(column, wrong if wrong.any() else None)
