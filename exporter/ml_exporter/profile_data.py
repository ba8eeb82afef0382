"""Rows for a profile: prediction logs of any format as columns, with their labels."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import numpy as np

from ml_exporter.config import Model
from ml_exporter.delta import OWN_COLUMNS, feature_path
from ml_exporter.judged import Judged
from ml_exporter.profile import ProfileError
from ml_exporter.profile_source import label_log, place, relation
from ml_exporter.slots import MISSING, Slots
from ml_exporter.sources import sql
from ml_exporter.sources.batch import ABSENT, BINARY_CLASSES, ClassArray
from ml_exporter.stats.arrays import FloatArray, IntArray

CATEGORY_LIMIT = 1_000
_NUMBERS = (
    "TINYINT",
    "SMALLINT",
    "INTEGER",
    "BIGINT",
    "HUGEINT",
    "UTINYINT",
    "USMALLINT",
    "UINTEGER",
    "UBIGINT",
    "UHUGEINT",
    "FLOAT",
    "DOUBLE",
    "DECIMAL",
)
_KINDS = {
    "numeric": "numeric",
    "categorical": "categorical",
    "integer_category": "categorical",
    "boolean": "categorical",
    "text": "text",
    "timestamp": "timestamp",
}


@dataclass(frozen=True)
class Feature:
    """A feature as the data has it, and in `note` why it was taken for that.

    `kind` is numeric, categorical, text or timestamp, None where it is not watched; `sure` where the
    configuration says so.
    """

    name: str
    path: str
    kind: str | None
    note: str
    sure: bool = False


class Rows:
    """The rows of a model's data files, in time order.

    `since` and `until` (microseconds, the latter excluded) cut them. Raises ProfileError with file
    and remedy where they cannot be read.
    """

    def __init__(self, model: Model, files: Sequence[Path], since: int | None, until: int | None) -> None:
        self._model = model
        self._db = duckdb.connect(":memory:")
        self._db.execute("SET timezone = 'UTC'")
        self._source = relation(files)
        try:
            described = self._db.execute(f"DESCRIBE SELECT * FROM {self._source}").fetchall()
            self._types = {row[0]: row[1] for row in described}
            self.features = tuple(self._find_features())
            self._details = self._detail_paths()
            self._load(since, until)
            self.classes = self._find_classes()
            if self._model.task == "multiclass":
                # Probabilities stand in the order of the classes; without one for each they say nothing.
                complete = set(self.classes) <= self._details.keys()
                self._details = {name: self._details[name] for name in self.classes if complete}
        except duckdb.Error as error:
            names = ", ".join(map(str, files))
            raise ProfileError(
                f"{names}: {str(error).splitlines()[0]}; compare with predictions.fields"
            ) from None

    def __len__(self) -> int:
        row = self._db.execute("SELECT count(*) FROM rows").fetchone()
        return int(row[0]) if row else 0

    def times(self) -> IntArray:
        """Time stamps in microseconds, shape (n,), ascending."""
        return np.asarray(self._column("time"), np.int64)

    def judged(self) -> Judged:
        """What was answered in n rows and what became of them; classes are codes into `classes`."""
        times, scores = self.times(), self._numbers("score")
        details = None
        if self._details:
            details = np.stack([self._numbers(f"d {name}") for name in self._details], axis=1)
        if self._model.task == "regression":
            none, labels = np.full(times.size, ABSENT, np.int16), self._numbers("label")
            labels[~np.isfinite(labels)] = np.nan
            return Judged(times, scores, none, details, labels)
        classes, codes = (self._codes(name) for name in ("class", "label"))
        if self._model.task == "multiclass" and details is not None:
            # As they are read from the log: without one of them there is no score, without any it is missing.
            lacking = np.isnan(details)
            scores = np.where(lacking.any(axis=1), np.inf, np.max(details, axis=1))
            scores[lacking.all(axis=1)] = np.nan
            derived = (classes == ABSENT) & np.isfinite(scores)
            classes[derived] = np.argmax(details[derived], axis=1)
        known = np.where(codes >= 0, codes.astype(np.float64), np.nan)
        return Judged(times, scores, classes, details, known)

    def numbers(self, feature: Feature) -> tuple[FloatArray, Any]:
        """Numbers of a feature, shape (n,), and where they are missing: of a text its length in characters."""
        column = self._column(f"f {feature.name}", sql.characters if feature.kind == "text" else str)
        return np.asarray(np.ma.filled(column, np.nan), np.float64), np.ma.getmaskarray(column)

    def category_counts(self, feature: Feature) -> list[tuple[str, int]]:
        """Categories and their rows, most frequent first."""
        column = sql.name(f"f {feature.name}")
        return self._db.execute(
            f"SELECT {column} AS value, count(*) AS n FROM rows WHERE value IS NOT NULL GROUP BY value ORDER BY n DESC, value"
        ).fetchall()

    def category_codes(self, feature: Feature, values: Sequence[str]) -> IntArray:
        """Codes of a categorical feature in a list of values, shape (n,); see `sql.category`."""
        code = sql.category(sql.name(f"f {feature.name}"), values)
        column = self._db.execute(f"SELECT {code} AS code FROM rows ORDER BY row").fetchnumpy()["code"]
        return np.asarray(column, np.int64)

    def _numbers(self, name: str) -> FloatArray:
        return np.asarray(np.ma.filled(self._column(name), np.nan), np.float64)

    def _codes(self, name: str) -> ClassArray:
        """Codes of `class` or `label`, as in `sources.batch`."""
        if self._model.task == "binary":
            return np.asarray(self._column(name), np.int16)
        code = f"CASE WHEN {sql.name(name)} IS NULL THEN {ABSENT} ELSE {sql.code(sql.name(name), self.classes, len(self.classes))} END"
        column = self._db.execute(f"SELECT {code} AS code FROM rows ORDER BY row").fetchnumpy()["code"]
        return np.asarray(column, np.int16)

    def _find_classes(self) -> tuple[str, ...]:
        """The classes of the data, the most frequent label first."""
        score = self._model.predictions.fields.score
        if self._model.task == "binary":
            return BINARY_CLASSES
        if self._model.task == "regression":
            return ()
        if score is not None and not isinstance(score, str):
            return tuple(Slots(self._model.class_limit, tuple(score)).names)
        found = self._db.execute(
            "SELECT value FROM (SELECT label AS value, 1 AS weight FROM rows UNION ALL SELECT class, 1e-9 FROM rows) "
            f"WHERE value IS NOT NULL AND value <> {sql.text(MISSING)} GROUP BY value ORDER BY sum(weight) DESC, value LIMIT {self._model.class_limit}"
        ).fetchall()
        return tuple(row[0] for row in found)

    def _column(self, name: str, of: Callable[[str], str] = str) -> Any:
        query = f"SELECT {of(sql.name(name))} AS value FROM rows ORDER BY row"
        return self._db.execute(query).fetchnumpy()["value"]

    def _find_features(self) -> Iterator[Feature]:
        configured = self._model.predictions.fields.features
        names = (
            self._children(configured)
            if isinstance(configured, str)
            else [sql.parts(path)[-1] for path in configured]
        )
        paths = [feature_path(self._model, name) for name in names]
        for name, path, kind in zip(names, paths, self._kinds(paths), strict=True):
            yield self._feature(name, path, kind)

    def _children(self, parent: str) -> list[str]:
        names = self._names_below(parent)
        optional = "features" not in self._model.predictions.fields.model_fields_set
        if names is None and not (optional and parent not in self._types):
            raise ProfileError(
                f"{parent}: is not an object in the data; name the paths in predictions.fields.features"
            )
        return names or []

    def _names_below(self, parent: str) -> list[str] | None:
        """The names in an object, or after a prefix of columns; None where there is neither."""
        prefix = f"{parent}."
        below = [name.removeprefix(prefix) for name in self._types if name.startswith(prefix)]
        if below or not self._has(parent):
            return below or None
        own = self._place(parent)
        if self._kinds([parent])[0].startswith("STRUCT"):
            rows = self._db.execute(f"DESCRIBE SELECT unnest({own}) FROM {self._source}").fetchall()
            return [row[0] for row in rows]
        some = f"SELECT count(*) FROM {self._source} WHERE coalesce({own}::VARCHAR, '{{}}') <> '{{}}'"
        return None if self._db.execute(some).fetchall()[0][0] else []

    def _kinds(self, paths: Sequence[str]) -> list[str]:
        """Types of what stands at the paths, all at once: each look reads the data."""
        if not paths:
            return []
        values = ", ".join(f"{self._place(path)} AS value_{number}" for number, path in enumerate(paths))
        found = self._db.execute(f"DESCRIBE SELECT {values} FROM {self._source}").fetchall()
        return [str(row[1]) for row in found]

    def _feature(self, name: str, path: str, kind: str) -> Feature:
        own = self._model.columns.get(name)
        if name in OWN_COLUMNS:
            return Feature(name, path, None, "the name stands for the model's own column")
        if own is not None and own.kind is not None:
            return Feature(name, path, _KINDS.get(own.kind), f"configured as {own.kind}", sure=True)
        if kind in _NUMBERS or kind.startswith("DECIMAL"):
            return Feature(name, path, "numeric", f"numbers ({kind})")
        if kind == "BOOLEAN":
            return Feature(name, path, "categorical", "truth values")
        if kind in ("VARCHAR", "JSON") or kind.startswith("ENUM"):
            return Feature(name, path, "categorical", "text")
        if kind.startswith("TIMESTAMP") or kind == "DATE":
            return Feature(name, path, "timestamp", f"time stamps ({kind}), watched by their age in seconds")
        if kind == "UUID":
            return Feature(name, path, "text", "identifiers, watched by their length")
        return Feature(name, path, None, f"{kind} is not watched")

    def _load(self, since: int | None, until: int | None) -> None:
        fields = self._model.predictions.fields
        select = {
            "time": sql.microseconds(self._text(fields.timestamp)),
            "id": self._text(fields.id) if self._has(fields.id) else "''",
            "score": self._score(fields.score if self._model.task == "binary" else fields.prediction),
            "class": self._class(fields.prediction),
            **{f"d {name}": self._score(path) for name, path in self._details.items()},
            **{f"f {feature.name}": self._value(feature) for feature in self.features if feature.kind},
        }
        columns = ", ".join(f"{expression} AS {sql.name(name)}" for name, expression in select.items())
        source = f"SELECT {columns}, {self._label()} AS label FROM {self._source} {self._version_filter()}"
        conditions = ["time IS NOT NULL"]
        conditions += [f"time >= {since}"] if since is not None else []
        conditions += [f"time < {until}"] if until is not None else []
        self._db.execute(
            f"CREATE TEMP TABLE rows AS SELECT row_number() OVER (ORDER BY time, id) AS row, * "
            f"{self._derived()}FROM ({source}) WHERE {' AND '.join(conditions)}"
        )

    def _derived(self) -> str:
        """A binary score without a decision decides at one half."""
        if self._model.task != "binary":
            return ""
        decided = (
            f"CASE WHEN class = {ABSENT} AND score IS NOT NULL THEN (score >= 0.5)::TINYINT ELSE class END"
        )
        return f"REPLACE ({decided} AS class) "

    def _detail_paths(self) -> dict[str, str]:
        """Paths of the probabilities by class, or of a predicted interval's ends."""
        model, score = self._model, self._model.predictions.fields.score
        if model.task == "regression" and model.interval:
            return {"lower": model.interval.lower, "upper": model.interval.upper}
        if model.task != "multiclass" or score is None:
            return {}
        if isinstance(score, str):
            return {name: f"{score}.{sql.escaped(name)}" for name in self._names_below(score) or ()}
        return dict(score)

    def _score(self, path: str | Mapping[str, str] | None) -> str:
        if not isinstance(path, str) or not self._has(path):
            return "NULL::DOUBLE"
        return f"try_cast({self._place(path)} AS DOUBLE)"

    def _class(self, path: str | None) -> str:
        if path is None or not self._has(path):
            return f"{ABSENT}::TINYINT" if self._model.task == "binary" else "NULL::VARCHAR"
        return self._answer(self._text(path))

    def _answer(self, text: str) -> str:
        """A class or a label: a code, a name or a number."""
        if self._model.task == "binary":
            return sql.binary_class(text, self._model.positive)
        return f"nullif({text}, '')" if self._model.task == "multiclass" else f"try_cast({text} AS DOUBLE)"

    def _label(self) -> str:
        """Where the label is: in the record, under either name, or in the label log."""
        labels = self._model.labels
        for path in (self._model.predictions.fields.label, labels.fields.label if labels else None):
            if path is not None and self._has(path):
                return self._class(path)
        none = f"{ABSENT}::TINYINT" if self._model.task == "binary" else "NULL"
        if labels is None or not label_log(self._db, labels, self._label_of("given")):
            return none
        own = self._text(self._model.predictions.fields.id)
        return f"coalesce((SELECT known_label FROM label_log WHERE known_id = {own}), {none})"

    def _label_of(self, text: str) -> str:
        """A label of the label log, NULL for what is none."""
        answer = self._answer(text)
        if self._model.task == "binary":
            return f"CASE WHEN {answer} >= 0 THEN {answer} END"
        return (
            f"CASE WHEN isfinite({answer}) THEN {answer} END" if self._model.task == "regression" else answer
        )

    def _version_filter(self) -> str:
        model, path = self._model, self._model.predictions.fields.version
        if not self._has(path):
            return ""
        version = self._text(path)
        if model.champion:
            return f"WHERE coalesce({version}, {sql.text(model.champion)}) = {sql.text(model.champion)}"
        listed = ", ".join(map(sql.text, model.shadow)) or "''"
        return f"WHERE coalesce({version}, '') NOT IN ({listed}) OR {version} IS NULL"

    def _has(self, path: str | None) -> bool:
        if path is None:
            return False
        names = sql.parts(path)
        if ".".join(names) in self._types:
            return True
        if names[0] not in self._types:
            return False
        try:
            self._db.execute(f"DESCRIBE SELECT {sql.path(path)} FROM {self._source}")
        except duckdb.Error:
            return False
        return True

    def _place(self, path: str) -> str:
        return place(path, self._types)

    def _text(self, path: str) -> str:
        return f"CAST({self._place(path)} AS VARCHAR)"

    def _value(self, feature: Feature) -> str:
        if feature.kind == "numeric":
            return f"try_cast({self._place(feature.path)} AS DOUBLE)"
        if feature.kind == "timestamp":
            own = self._model.predictions.fields.timestamp
            return sql.age(*(sql.microseconds(self._text(path)) for path in (own, feature.path)))
        return self._text(feature.path)
