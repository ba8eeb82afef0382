"""Predictions wait for their labels: two tables and one join, made when a prediction is mature.

A prediction is mature when the clock and the label log's read position have passed its time stamp
by the maturity. Then it is judged once, with the first label of its id from `EARLY` before its time
stamp to the maturity after it, or without one, and its id is remembered. A label's outcome is what it
is to the earliest prediction it belongs to: `matched` or `early` when it is the first of that one's,
else `duplicate`.

A label that no prediction has taken leaves once none can come that would: then those that were
judged tell what it is. That look costs what they are many, so it is made once for all labels of a
slice of time, never for a batch or a cycle. The label is a `duplicate` where its id was judged with
another within `wait` before it, `late` where it was judged without; else it is nobody's. Of those of
one id and slice, the first is `late` or nobody's and the others are duplicates.

Everything is decided by time stamps, so the order in which rows are read does not matter as long as
the label log is not behind its clock and the other not by more than the maturity.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ml_exporter import pairs
from ml_exporter.judged import Judged
from ml_exporter.pairs import Losses
from ml_exporter.parallel import never
from ml_exporter.pending import PendingRows
from ml_exporter.sources.batch import NEGATIVE, Labels, Predictions
from ml_exporter.stats.arrays import IntArray
from ml_exporter.stats.sums import RowSums
from ml_exporter.store import Store

EARLY = 3600 * 1_000_000
"""How long before its prediction a label may come, in microseconds."""

NEAR = 600 * 1_000_000
"""How far apart two predictions with one id are duplicates, in microseconds: it was written, or sent, again."""

DELAY_BOUNDS = (60.0, 300.0, 900.0, 3600.0, 10800.0, 21600.0, 43200.0, 86400.0, 259200.0, 604800.0, 2592000.0)
"""Upper bounds of the label delay's buckets, in seconds: 1 minute to 30 days."""

OUTCOMES = ("matched", "early", "orphan", "foreign", "duplicate", "late", "expired")
_BATCH = 100_000
_SLICES = 60
"""Into how many slices the time is cut that a label waits at most."""

# The predictions of a batch are set apart first: a plan that knows how few they are never builds on labels.
_DUE = "CREATE OR REPLACE TEMP TABLE due AS SELECT * FROM pending WHERE model = $model AND time <= $time"
_MET = """
    CREATE OR REPLACE TEMP TABLE met AS
    SELECT p.rowid AS prediction, p.time, l.rowid AS row, l.time AS label_time, l.label, l.used,
        row_number() OVER (PARTITION BY p.rowid ORDER BY l.time, l.rowid) AS place
    FROM temp.due p JOIN labels l ON l.id = p.id AND l.time BETWEEN p.time - $early AND p.time + $maturity
    WHERE l.model = $model AND l.time BETWEEN $oldest - $early AND $newest + $maturity
"""
_RIPE = """
    CREATE OR REPLACE TEMP TABLE ripe AS
    SELECT p.*, m.label
    FROM temp.due p LEFT JOIN temp.met m ON m.prediction = p.rowid AND m.place = 1
    ORDER BY p.time, p.version, p.id
"""
# A label's outcome is what it is to the earliest prediction; of twins with one time stamp it is the same.
_COUNTED = """
    SELECT arg_min(place, time) = 1 AS first, max(label_time - time) AS delay
    FROM temp.met WHERE NOT used GROUP BY row
"""
# Of what was judged before only the newest part is looked at.
_NEAR_IDS = """
    SELECT id, version FROM temp.due UNION ALL
    SELECT id, version FROM matured WHERE model = $model AND time BETWEEN $since AND $until
"""
_REPEATED = """
    WITH near AS (
        SELECT id, version, time, true AS own FROM temp.due WHERE id IN (SELECT id FROM batch) UNION ALL
        SELECT id, version, time, false FROM matured WHERE model = $model
        AND time BETWEEN $since AND $until AND id IN (SELECT id FROM batch)
    ), gaps AS (
        SELECT version, own, abs(time - lag(time) OVER (PARTITION BY id, version ORDER BY own, time)) AS gap
        FROM near
    )
    SELECT version, count(*) FROM gaps WHERE own AND gap <= $near GROUP BY version
"""
_LEAVING = """
    CREATE OR REPLACE TEMP TABLE leaving AS
    SELECT id, time, ($time - 1 - time) // $slice AS slice
    FROM labels WHERE model = $model AND time < $time AND NOT used
"""
_FATES = """
    WITH judged AS (
        SELECT id, time, labelled FROM matured WHERE model = $model
        AND time BETWEEN $oldest - $wait AND $newest + $early AND id IN (SELECT id FROM temp.leaving)
    ), alone AS (
        SELECT l.id, l.slice, l.time, count(j.id) > 0 AS late
        FROM temp.leaving l LEFT JOIN judged j ON j.id = l.id AND j.time BETWEEN l.time - $wait AND l.time + $early
        GROUP BY l.rowid, l.id, l.slice, l.time HAVING NOT coalesce(bool_or(j.labelled), false)
    ), firsts AS (SELECT arg_min(late, time) AS late FROM alone GROUP BY id, slice)
    SELECT count(*) FILTER (late), count(*) FILTER (NOT late) FROM firsts
"""


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
        return self.wait + self.reach

    @property
    def reach(self) -> int:
        """How far apart two predictions may be that share a label."""
        return self.maturity + EARLY

    @property
    def slice(self) -> int:
        """Labels leave by slices of absolute time of this length, whenever they are looked at."""
        return max(1, self.reach // _SLICES)


@dataclass
class Verdict:
    """What judging gave: rows by version code, labels by outcome, delays by bucket (seconds in sum).

    `pairs` are sums of how much better the second version code did on the same ids than the first;
    `evicted` predictions were judged before their time because too many waited; `duplicates` are those of a
    version, by code, that repeat an id within `NEAR`.
    """

    rows: dict[int, list[Judged]] = field(default_factory=dict)
    outcomes: Counter[str] = field(default_factory=Counter)
    delays: IntArray = field(default_factory=lambda: np.zeros(len(DELAY_BOUNDS) + 1, np.int64))
    delay_sum: float = 0.0
    pairs: dict[pairs.Pair, dict[str, RowSums]] = field(default_factory=dict)
    evicted: int = 0
    duplicates: Counter[int] = field(default_factory=Counter)


class Waiting:
    """The waiting rows of one model; times in microseconds."""

    def __init__(
        self,
        store: Store,
        model: int,
        rules: Rules,
        rows: PendingRows | None = None,
        losses: Losses | None = None,
        stopping: Callable[[], bool] = never,
    ) -> None:
        self._store = store
        self._model = model
        self._rules = rules
        self._rows = rows or PendingRows(store, model, details=0, segments=0)
        self._losses = losses if rules.paired else None
        self._stopping = stopping
        self._silent_label = float(NEGATIVE) if rules.silence == "negative" else np.nan

    def add_predictions(
        self, rows: Predictions, versions: IntArray, segments: IntArray | None = None
    ) -> None:
        """Let predictions wait: versions are codes (n,), segments codes of their values (n, segments)."""
        none = np.zeros((len(rows), 0), np.int64)
        self._rows.insert(rows, versions, none if segments is None else segments)

    def add_labels(self, labels: Labels, horizon: int) -> Counter[str]:
        """Let labels wait, but for those that are older than judged ids are kept.

        `horizon` is how far both logs were read when predictions were last judged. Costs the same
        however many rows wait or have matured: no other table is looked at.
        """
        known = labels.times >= horizon - self._rules.memory
        kept = labels.take(known)
        n = kept.ids.size
        columns: dict[str, np.ndarray[Any, Any]] = {
            "model": np.full(n, self._model, np.uint16),
            "id": kept.ids,
            "time": kept.times,
            "label": kept.labels,
            "used": np.zeros(n, np.bool_),
        }
        self._store.insert("labels", columns)
        return +Counter(expired=int(known.size - n))

    def judge(self, horizon: int, label_horizon: int) -> Verdict:
        """Judge what is mature at `horizon`, and drop the labels that nothing read from now on can match.

        `label_horizon` is the earlier of the read positions of both logs. On the way out what is left
        goes on waiting, and so do all labels, since it may want them.
        """
        verdict, rules = Verdict(), self._rules
        for until in self._batches(horizon - rules.maturity):
            if self._stopping():
                return verdict
            self._judge_until(until, verdict)
        before = label_horizon - rules.reach
        self._settle(before - before % rules.slice, verdict)
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
            self._execute(_DUE, time=until)
            self._execute(
                "CREATE OR REPLACE TEMP TABLE ripe AS SELECT *, NULL::DOUBLE AS label FROM temp.due "
                "ORDER BY time, version, id"
            )
            oldest, newest = self._execute("SELECT min(time), max(time) FROM temp.due").fetchone()
            self._count_repeated(oldest, newest, verdict)
            verdict.evicted += self._collect(verdict, np.nan)
            self._move_ripe(until)

    def pending(self) -> int:
        """Predictions that wait."""
        return int(self._execute("SELECT count(*) FROM pending WHERE model = $model").fetchone()[0])

    def forget(self) -> None:
        """Drop everything that waits, and what is remembered of ids."""
        for table in ("pending", "labels", "matured", "settled"):
            self._execute(f"DELETE FROM {table} WHERE model = $model")

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
        rules = self._rules
        self._execute(_DUE, time=until)
        oldest, newest = self._execute("SELECT min(time), max(time) FROM temp.due").fetchone()
        self._execute(_MET, oldest=oldest, newest=newest, early=EARLY, maturity=rules.maturity)
        self._execute(_RIPE)
        self._count_repeated(oldest, newest, verdict)
        self._collect(verdict, self._silent_label)
        self._move_ripe(until)
        self._count_met(verdict)
        self._execute(
            "UPDATE labels SET used = true WHERE rowid IN (SELECT row FROM temp.met WHERE NOT used) "
            "AND time BETWEEN $oldest - $early AND $newest + $maturity",
            oldest=oldest,
            newest=newest,
            early=EARLY,
            maturity=rules.maturity,
        )

    def _move_ripe(self, until: int) -> None:
        """Take what is judged out of `pending`, and remember its ids."""
        self._execute("DELETE FROM pending WHERE model = $model AND time <= $time", time=until)
        if self._losses is None:
            self._execute(
                "INSERT INTO matured SELECT $model, id, time, version, label IS NOT NULL, NULL FROM temp.ripe"
            )

    def _count_repeated(self, oldest: int, newest: int, verdict: Verdict) -> None:
        """Count what is judged now and repeats the id of another prediction of its version."""
        span = {"model": self._model, "since": oldest - NEAR, "until": newest + NEAR}
        ids = self._store.query(_NEAR_IDS, span).fetchnumpy()
        suspects = _twice(ids["id"], ids["version"])
        if suspects.size:
            found = self._store.query(_REPEATED, {**span, "near": NEAR}, {"id": suspects}).fetchall()
            verdict.duplicates.update({int(version): int(rows) for version, rows in found})

    def _count_met(self, verdict: Verdict) -> None:
        """Count each label once, with its delay since the earliest of the predictions that share it."""
        found = self._execute(_COUNTED).fetchnumpy()
        first = np.asarray(found["first"], np.bool_)
        verdict.outcomes["duplicate"] += int(np.count_nonzero(~first))
        seconds = np.sort(np.asarray(found["delay"], np.int64)[first]) / 1e6
        verdict.outcomes["early"] += int(np.count_nonzero(seconds < 0))
        verdict.outcomes["matched"] += int(np.count_nonzero(seconds >= 0))
        waited = np.maximum(seconds, 0.0)
        verdict.delays += np.bincount(np.searchsorted(DELAY_BOUNDS, waited), minlength=verdict.delays.size)
        verdict.delay_sum += float(waited.sum())

    def _collect(self, verdict: Verdict, silent_label: float) -> int:
        """Hand the judged rows over; return how many there are."""
        rows = self._execute(f"SELECT id, label, {self._rows.columns} FROM temp.ripe").fetchnumpy()
        labels = np.asarray(np.ma.filled(rows["label"], silent_label), np.float64)
        versions = np.asarray(rows["version"])
        for version in np.flatnonzero(np.bincount(versions)):
            judged = self._rows.judged(rows, versions == version, labels)
            verdict.rows.setdefault(int(version), []).append(judged)
        if self._losses is not None:
            judged = self._rows.judged(rows, np.ones(versions.size, np.bool_), labels)
            unlabelled = np.ma.getmaskarray(rows["label"])
            losses = self._losses(judged)
            pairs.compare(
                self._store,
                self._model,
                pairs.Answered(rows["id"], judged.times, versions, ~unlabelled, losses),
                self._rules.reach,
                verdict.pairs,
            )
        return int(versions.size)

    def _settle(self, before: int, verdict: Verdict) -> None:
        """Let the labels up to a slice's edge leave, and forget the ids that no label asks for any more.

        The edge is in the store, so that neither a restart nor a rollback makes a second look, and labels
        that come behind it wait for the next one.
        """
        last = self._execute("SELECT max(time) FROM settled WHERE model = $model").fetchone()[0]
        if last is not None and before <= last:
            return
        self._execute(_LEAVING, time=before, slice=self._rules.slice)
        self._count_leaving(verdict)
        self._execute("DELETE FROM labels WHERE model = $model AND time < $time", time=before)
        self._execute(
            "DELETE FROM matured WHERE model = $model AND time < $time", time=before - self._rules.wait
        )
        self._execute("DELETE FROM settled WHERE model = $model")
        self._execute("INSERT INTO settled VALUES ($model, $time)", time=before)

    def _count_leaving(self, verdict: Verdict) -> None:
        n, oldest, newest = self._execute(
            "SELECT count(*), min(time), max(time) FROM temp.leaving"
        ).fetchone()
        if not n:
            return
        late, unknown = self._execute(
            _FATES, oldest=oldest, newest=newest, wait=self._rules.wait, early=EARLY
        ).fetchone()
        verdict.outcomes["late"] += late
        verdict.outcomes["foreign" if self._rules.shared else "orphan"] += unknown
        verdict.outcomes["duplicate"] += n - late - unknown

    def _execute(self, statement: str, **parameters: int) -> Any:
        if "$model" in statement:
            parameters["model"] = self._model
        return self._store.query(statement, parameters)


def _twice(ids: np.ndarray[Any, Any], versions: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """The ids that a version has twice, and very seldom others: sorting is faster than the engine's hashing."""
    keys = ids ^ (versions.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15))
    order = np.sort(keys)
    twice = order[1:][order[1:] == order[:-1]]
    return np.unique(ids[np.isin(keys, twice)]) if twice.size else ids[:0]
