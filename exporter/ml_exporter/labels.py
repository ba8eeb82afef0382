"""Predictions wait for their labels: two tables and one join, made when a prediction is mature.

A prediction is mature when the clock and the label log's read position have passed its time stamp
by the maturity. Then it is judged once, with the label that has come by then or without one, and
its id is remembered to tell what later labels are. Everything is decided by time stamps, so the
order in which rows are read does not matter as long as a log is not out of order by more than the
maturity and an hour.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ml_exporter import pairs
from ml_exporter.counting import Judged
from ml_exporter.sources.batch import ABSENT, NEGATIVE, Labels, Predictions
from ml_exporter.stats.arrays import BoolArray, IntArray
from ml_exporter.stats.sums import RowSums
from ml_exporter.store import Store

EARLY = 3600 * 1_000_000
"""How long before its prediction a label may come, in microseconds."""

DELAY_BOUNDS = (60.0, 300.0, 900.0, 3600.0, 10800.0, 21600.0, 43200.0, 86400.0, 259200.0, 604800.0, 2592000.0)
"""Upper bounds of the label delay's buckets, in seconds: 1 minute to 30 days."""

OUTCOMES = ("matched", "early", "orphan", "foreign", "duplicate", "late", "expired")
_BATCH = 100_000


@dataclass(frozen=True)
class Rules:
    """How labels meet predictions; times in microseconds.

    `maturity`, `wait`, `silence` and `shared` as in the configuration; `paired` where versions
    predict the same ids, so that what was judged is kept to be compared with its twin.
    """

    maturity: int
    wait: int
    silence: str = "unknown"
    shared: bool = False
    paired: bool = False

    @property
    def memory(self) -> int:
        """How long a judged id is kept: a label may stay unread this long and still be told late."""
        return self.wait + self.maturity + EARLY


@dataclass
class Verdict:
    """What judging gave: rows by version code, labels by outcome, delays by bucket (seconds in sum).

    `pairs` are sums of how much better the second version code did on the same ids than the first;
    `evicted` predictions were judged before their time because too many waited.
    """

    rows: dict[int, list[Judged]] = field(default_factory=dict)
    outcomes: Counter[str] = field(default_factory=Counter)
    delays: IntArray = field(default_factory=lambda: np.zeros(len(DELAY_BOUNDS) + 1, np.int64))
    delay_sum: float = 0.0
    pairs: dict[pairs.Pair, dict[str, RowSums]] = field(default_factory=dict)
    evicted: int = 0


class Waiting:
    """The waiting rows of one model; times in microseconds."""

    def __init__(self, store: Store, model: int, rules: Rules) -> None:
        self._store = store
        self._model = model
        self._rules = rules
        self._silent_label = NEGATIVE if rules.silence == "negative" else ABSENT

    def add_predictions(self, rows: Predictions, version_codes: IntArray) -> None:
        """Let predictions wait; requests that failed have nothing to be judged."""
        served = ~rows.errors
        columns: dict[str, np.ndarray[Any, Any]] = {
            "model": np.full(int(served.sum()), self._model, np.uint16),
            "id": rows.ids[served],
            "time": rows.times[served],
            "version": version_codes[served].astype(np.uint16),
            "score": rows.scores[served],
            "class": rows.classes[served],
        }
        self._store.insert("pending", columns)

    def add_labels(self, labels: Labels, horizon: int) -> Counter[str]:
        """Let labels wait, but for those whose outcome is known.

        `horizon` is how far both logs were read when predictions were last judged. The first label
        of an id counts; whatever comes later is a duplicate.
        """
        expired = labels.times < horizon - self._rules.memory
        duplicate, late = (fate & ~expired for fate in self._fates(labels))
        rest = np.flatnonzero(~(duplicate | late | expired))
        _, first = np.unique(labels.ids[rest], return_index=True)
        keep = np.zeros(labels.ids.size, np.bool_)
        keep[rest[first]] = True
        self._insert(labels.take(keep))
        repeated = int(np.count_nonzero(duplicate)) + rest.size - first.size
        outcomes = Counter(duplicate=repeated, late=int(late.sum()), expired=int(expired.sum()))
        return +outcomes

    def judge(self, horizon: int, label_horizon: int) -> Verdict:
        """Judge what is mature at `horizon`, and drop the labels that nothing read from now on can match.

        `label_horizon` is the earlier of the read positions of both logs.
        """
        verdict, rules = Verdict(), self._rules
        for until in self._batches(horizon - rules.maturity):
            self._judge_until(until, verdict)
        self._drop_labels(label_horizon - EARLY - rules.maturity, verdict)
        self._execute(
            "DELETE FROM matured WHERE model = $model AND time < $time", time=label_horizon - rules.memory
        )
        return verdict

    def evict(self, limit: int, verdict: Verdict) -> None:
        """Where more than `limit` predictions of all models wait, judge the oldest of this one unlabelled.

        A label that has come already is not used: those that come first are not like the others.
        So coverage falls, and below the configured one quality is withheld. Unlike silence of a
        mature prediction it says nothing, so it never means a negative.
        """
        excess = self._execute("SELECT count(*) FROM pending").fetchone()[0] - limit
        if excess <= 0:
            return
        last = self._execute("SELECT time FROM pending ORDER BY time LIMIT 1 OFFSET $skip", skip=excess - 1)
        for until in self._batches(last.fetchone()[0]):
            self._execute(
                "CREATE OR REPLACE TEMP TABLE ripe AS SELECT id, time, version, class, "
                "'nan'::DOUBLE AS score, NULL::BIGINT AS label_time, NULL::TINYINT AS label, false AS used FROM pending "
                "WHERE model = $model AND time <= $time ORDER BY time, version, id",
                time=until,
            )
            self._move_ripe(until, comparable=False)
            verdict.evicted += self._collect(verdict, ABSENT)

    def pending(self) -> int:
        """Predictions that wait."""
        return int(self._execute("SELECT count(*) FROM pending WHERE model = $model").fetchone()[0])

    def forget(self) -> None:
        """Drop everything that waits, and what is remembered of ids."""
        for table in ("pending", "labels", "matured"):
            self._execute(f"DELETE FROM {table} WHERE model = $model")

    def _fates(self, labels: Labels) -> tuple[BoolArray, BoolArray]:
        """Mark the labels whose id has a label already, and those whose prediction was judged without."""
        batch = {"row": np.arange(labels.ids.size), "id": labels.ids, "time": labels.times}
        # A twin that still waits may match the label that came too late for the first of them.
        waits = "SELECT DISTINCT id FROM pending WHERE model = $model AND id IN (SELECT id FROM batch)"
        twins = waits if self._rules.paired else "SELECT id FROM batch WHERE false"
        # Filtered by id first: the tables may hold millions of rows, and grouping them takes seconds.
        found = self._execute(
            "SELECT b.row, bool_or(w.id IS NOT NULL OR m.label IS NOT NULL) AS duplicate, "
            "coalesce(bool_or(p.id IS NULL AND m.time BETWEEN b.time - $wait AND b.time + $early), false) AS late "
            f"FROM batch b LEFT JOIN ({twins}) p ON p.id = b.id "
            "LEFT JOIN (SELECT DISTINCT id FROM labels WHERE model = $model AND id IN (SELECT id FROM batch)) w "
            "ON w.id = b.id "
            "LEFT JOIN (SELECT id, time, label FROM matured WHERE model = $model AND id IN (SELECT id FROM batch)) m "
            "ON m.id = b.id GROUP BY b.row ORDER BY b.row",
            batch,
            wait=self._rules.wait,
            early=EARLY,
        ).fetchnumpy()
        duplicate = np.asarray(found["duplicate"], np.bool_)
        return duplicate, np.asarray(found["late"], np.bool_) & ~duplicate

    def _insert(self, labels: Labels) -> None:
        n = labels.ids.size
        columns: dict[str, np.ndarray[Any, Any]] = {
            "model": np.full(n, self._model, np.uint16),
            "id": labels.ids,
            "time": labels.times,
            "label": labels.labels,
            "used": np.zeros(n, np.bool_),
        }
        self._store.insert("labels", columns)

    def _batches(self, cutoff: int) -> Iterator[int]:
        """Give times until which to judge in one go, as long as predictions up to `cutoff` wait."""
        while True:
            until = self._execute(
                "SELECT max(time) FROM (SELECT time FROM pending WHERE model = $model AND time <= $time "
                f"ORDER BY time LIMIT {_BATCH})",
                time=cutoff,
            ).fetchone()[0]
            if until is None:
                return
            yield int(until)

    def _judge_until(self, until: int, verdict: Verdict) -> None:
        self._execute(
            "CREATE OR REPLACE TEMP TABLE ripe AS SELECT p.id, p.time, p.version, p.class, "
            # DuckDB takes a NaN of numpy's for NULL.
            "coalesce(p.score, 'nan'::DOUBLE) AS score, "
            "l.time AS label_time, l.label, l.used FROM (SELECT * FROM pending WHERE model = $model AND time <= $time) p "
            "LEFT JOIN (SELECT * FROM labels WHERE model = $model) l ON l.id = p.id "
            "AND l.time BETWEEN p.time - $early AND p.time + $maturity ORDER BY p.time, p.version, p.id",
            time=until,
            early=EARLY,
            maturity=self._rules.maturity,
        )
        if self._rules.paired:
            pairs.compare(self._store.connection, self._model, self._silent_label, verdict.pairs)
        self._move_ripe(until, comparable=self._rules.paired)
        self._count_matches(verdict)
        self._execute(
            "UPDATE labels SET used = true WHERE model = $model AND id IN "
            "(SELECT id FROM temp.ripe WHERE NOT used)"
        )
        self._collect(verdict, self._silent_label)

    def _move_ripe(self, until: int, comparable: bool) -> None:
        """Take what is judged out of `pending`, and remember its ids."""
        self._execute("DELETE FROM pending WHERE model = $model AND time <= $time", time=until)
        answer = "score, class" if comparable else "NULL, NULL"
        self._execute(f"INSERT INTO matured SELECT $model, id, time, version, {answer}, label FROM temp.ripe")

    def _count_matches(self, verdict: Verdict) -> None:
        """Count each label once, with its delay since the first of the predictions that share its id."""
        delays = self._execute(
            "SELECT max(label_time - time) AS delay FROM temp.ripe WHERE NOT used GROUP BY id"
        ).fetchnumpy()["delay"]
        seconds = np.sort(np.asarray(delays, np.int64)) / 1e6
        verdict.outcomes["early"] += int(np.count_nonzero(seconds < 0))
        verdict.outcomes["matched"] += int(np.count_nonzero(seconds >= 0))
        waited = np.maximum(seconds, 0.0)
        verdict.delays += np.bincount(np.searchsorted(DELAY_BOUNDS, waited), minlength=verdict.delays.size)
        verdict.delay_sum += float(waited.sum())

    def _collect(self, verdict: Verdict, silent_label: int) -> int:
        """Hand the judged rows over; return how many there are."""
        rows = self._execute("SELECT * FROM temp.ripe").fetchnumpy()
        versions = np.asarray(rows["version"])
        labels = np.ma.filled(rows["label"], silent_label).astype(np.int8)
        for version in np.unique(versions):
            chosen = versions == version
            judged = Judged(
                rows["time"][chosen], rows["score"][chosen], rows["class"][chosen], labels[chosen]
            )
            verdict.rows.setdefault(int(version), []).append(judged)
        return int(versions.size)

    def _drop_labels(self, before: int, verdict: Verdict) -> None:
        self._execute(
            "CREATE OR REPLACE TEMP TABLE leaving AS SELECT id, time FROM labels "
            "WHERE model = $model AND time < $time AND NOT used",
            time=before,
        )
        unused, late = self._execute(
            "SELECT count(*), count(*) FILTER (WHERE late) FROM (SELECT coalesce(bool_or("
            "m.time BETWEEN l.time - $wait AND l.time + $early), false) AS late FROM temp.leaving l "
            "LEFT JOIN (SELECT id, time FROM matured WHERE model = $model AND id IN (SELECT id FROM temp.leaving)) m "
            "ON m.id = l.id GROUP BY l.id)",
            wait=self._rules.wait,
            early=EARLY,
        ).fetchone()
        verdict.outcomes["late"] += late
        verdict.outcomes["foreign" if self._rules.shared else "orphan"] += unused - late
        self._execute("DELETE FROM labels WHERE model = $model AND time < $time", time=before)

    def _execute(self, statement: str, batch: Mapping[str, Any] | None = None, **parameters: int) -> Any:
        if "$model" in statement:
            parameters["model"] = self._model
        return self._store.query(statement, parameters, batch)
