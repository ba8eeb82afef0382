"""Predictions wait for their labels: two tables and one join, made when a prediction is mature.

A prediction is mature when the clock and the label log's read position have passed its time stamp
by the maturity. Then it is judged once, with the label that has come by then or without one.
Everything is decided by time stamps, so the order in which rows are read does not matter.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ml_exporter.counting import Judged
from ml_exporter.sources.batch import ABSENT, NEGATIVE, POSITIVE, Labels, Predictions
from ml_exporter.stats.arrays import FloatArray, IntArray
from ml_exporter.stats.classification import row_brier, row_log_loss
from ml_exporter.stats.sums import RowSums
from ml_exporter.store import Store

EARLY = 3600 * 1_000_000
"""How long before its prediction a label may come, in microseconds."""

DELAY_BOUNDS = (60.0, 300.0, 900.0, 3600.0, 10800.0, 21600.0, 43200.0, 86400.0, 259200.0, 604800.0, 2592000.0)
"""Upper bounds of the label delay's buckets, in seconds: 1 minute to 30 days."""

OUTCOMES = ("matched", "early", "orphan", "foreign", "duplicate", "late", "expired")
_BATCH = 100_000


@dataclass
class Verdict:
    """What judging gave: rows by version code, labels by outcome, delays by bucket (seconds in sum).

    `pairs` are sums of how much better the second version code did on the same ids than the first.
    """

    rows: dict[int, list[Judged]] = field(default_factory=dict)
    outcomes: Counter[str] = field(default_factory=Counter)
    delays: IntArray = field(default_factory=lambda: np.zeros(len(DELAY_BOUNDS) + 1, np.int64))
    delay_sum: float = 0.0
    pairs: dict[tuple[int, int], dict[str, RowSums]] = field(default_factory=dict)


class Waiting:
    """The waiting rows of one model; times in microseconds."""

    def __init__(
        self, store: Store, model: int, maturity: int, wait: int, shared: bool, silence: str
    ) -> None:
        self._store = store
        self._model = model
        self._maturity = maturity
        self._wait = wait
        self._orphan = "foreign" if shared else "orphan"
        self._silent_label = NEGATIVE if silence == "negative" else ABSENT

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
        """Let labels wait, but for those whose outcome is known; `horizon` is how far both logs are read."""
        outcomes: Counter[str] = Counter()
        _, first = np.unique(labels.ids, return_index=True)
        keep = np.zeros(labels.ids.size, np.bool_)
        keep[first] = True
        outcomes["duplicate"] += int(labels.ids.size - first.size)
        known = self._known(labels)
        outcomes["expired"] += int(np.count_nonzero(keep & ~known & (labels.times < horizon - self._wait)))
        outcomes["duplicate"] += self._count(labels, keep & known, "labelled OR waiting")
        outcomes["late"] += self._count(labels, keep & known, "NOT (labelled OR waiting)")
        keep &= ~known & (labels.times >= horizon - self._wait)
        self._insert(labels.take(keep))
        return +outcomes

    def judge(self, horizon: int, label_horizon: int) -> Verdict:
        """Judge what is mature at `horizon`, and drop the labels that nothing read from now on can match.

        `label_horizon` is the earlier of the read positions of both logs.
        """
        verdict = Verdict()
        cutoff = horizon - self._maturity
        while True:
            until = self._batch_end(cutoff)
            if until is None:
                break
            self._judge_until(until, verdict)
        self._drop_labels(label_horizon - EARLY - self._maturity, verdict)
        self._execute("DELETE FROM matured WHERE model = $model AND time < $time", time=horizon - self._wait)
        return verdict

    def pending(self) -> int:
        """Predictions that wait."""
        row = self._execute("SELECT count(*) FROM pending WHERE model = $model").fetchone()
        return int(row[0]) if row else 0

    def forget(self) -> None:
        """Drop everything that waits."""
        for table in ("pending", "labels", "matured"):
            self._execute(f"DELETE FROM {table} WHERE model = $model")

    def _known(self, labels: Labels) -> np.ndarray[Any, np.dtype[np.bool_]]:
        """Mark the labels whose id has a label already or was judged; keeps them in `arrived`."""
        batch = {"row": np.arange(labels.ids.size), "id": labels.ids}
        connection = self._store.connection
        connection.execute(
            "CREATE OR REPLACE TEMP TABLE arrived AS SELECT a.row, a.id, l.id IS NOT NULL AS waiting, "
            "m.id IS NOT NULL AS judged, coalesce(m.labelled, false) AS labelled FROM batch a "
            "LEFT JOIN (SELECT DISTINCT id FROM labels WHERE model = $model) l ON l.id = a.id "
            "LEFT JOIN (SELECT id, bool_or(labelled) AS labelled FROM matured WHERE model = $model GROUP BY id) m "
            "ON m.id = a.id",
            {"model": self._model},
        )
        del batch
        found = connection.execute(
            "SELECT waiting OR judged AS known FROM temp.arrived ORDER BY row"
        ).fetchnumpy()
        return np.asarray(found["known"], np.bool_)

    def _count(self, labels: Labels, rows: np.ndarray[Any, np.dtype[np.bool_]], condition: str) -> int:
        found = self._store.connection.execute(
            f"SELECT {condition} AS chosen FROM temp.arrived ORDER BY row"
        ).fetchnumpy()["chosen"]
        assert found.size == labels.ids.size
        return int(np.count_nonzero(rows & np.asarray(found, np.bool_)))

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

    def _batch_end(self, cutoff: int) -> int | None:
        """Return the time until which to judge in one go, None when nothing is left to judge."""
        row = self._execute(
            "SELECT max(time) FROM (SELECT time FROM pending WHERE model = $model AND time <= $time "
            f"ORDER BY time LIMIT {_BATCH})",
            time=cutoff,
        ).fetchone()
        return None if row is None or row[0] is None else int(row[0])

    def _judge_until(self, until: int, verdict: Verdict) -> None:
        self._execute(
            "CREATE OR REPLACE TEMP TABLE ripe AS SELECT p.id, p.time, p.version, p.score, p.class, "
            "l.time AS label_time, l.label, l.used FROM (SELECT * FROM pending WHERE model = $model AND time <= $time) p "
            "LEFT JOIN (SELECT * FROM labels WHERE model = $model) l ON l.id = p.id "
            f"AND l.time <= p.time + {self._maturity} AND l.time >= p.time - {EARLY} "
            "ORDER BY p.time, p.version, p.id",
            time=until,
        )
        self._execute("DELETE FROM pending WHERE model = $model AND time <= $time", time=until)
        self._execute("INSERT INTO matured SELECT $model, id, time, label IS NOT NULL FROM temp.ripe")
        self._count_matches(verdict)
        self._execute(
            "UPDATE labels SET used = true WHERE model = $model AND id IN (SELECT id FROM temp.ripe WHERE NOT used)"
        )
        self._collect(verdict)
        self._compare(verdict)

    def _compare(self, verdict: Verdict) -> None:
        """Compare versions on the ids that both have predicted, where both are judged together."""
        rows = self._store.connection.execute(
            "SELECT a.version AS first, b.version AS second, a.score AS score_a, b.score AS score_b, "
            "a.class AS class_a, b.class AS class_b, a.label FROM temp.ripe a JOIN temp.ripe b "
            "ON a.id = b.id AND a.version <> b.version WHERE a.label IS NOT NULL ORDER BY a.time, a.id"
        ).fetchnumpy()
        pairs = rows["first"].astype(np.int64) << 16 | rows["second"]
        for pair in np.unique(pairs):
            chosen = {name: np.asarray(column[pairs == pair]) for name, column in rows.items()}
            sums = verdict.pairs.setdefault((int(pair) >> 16, int(pair) & 0xFFFF), {})
            for metric, values in _differences(chosen).items():
                sums[metric] = sums.get(metric, RowSums()) + RowSums.of(values)

    def _count_matches(self, verdict: Verdict) -> None:
        """Count each label once, at the first of the predictions that share its id."""
        delays = self._store.connection.execute(
            "SELECT min(label_time - time) AS delay FROM temp.ripe WHERE NOT used GROUP BY id"
        ).fetchnumpy()["delay"]
        seconds = np.sort(np.asarray(delays, np.int64)) / 1e6
        verdict.outcomes["early"] += int(np.count_nonzero(seconds < 0))
        verdict.outcomes["matched"] += int(np.count_nonzero(seconds >= 0))
        waited = np.maximum(seconds, 0.0)
        buckets = np.searchsorted(DELAY_BOUNDS, waited)
        verdict.delays += np.bincount(buckets, minlength=verdict.delays.size)
        verdict.delay_sum += float(waited.sum())

    def _collect(self, verdict: Verdict) -> None:
        rows = self._store.connection.execute("SELECT * FROM temp.ripe").fetchnumpy()
        versions = np.asarray(rows["version"])
        labels = np.ma.filled(rows["label"], self._silent_label).astype(np.int8)
        for version in np.unique(versions):
            chosen = versions == version
            judged = Judged(
                rows["time"][chosen], rows["score"][chosen], rows["class"][chosen], labels[chosen]
            )
            verdict.rows.setdefault(int(version), []).append(judged)

    def _drop_labels(self, before: int, verdict: Verdict) -> None:
        row = self._execute(
            "SELECT count(*), count(*) FILTER (WHERE id IN (SELECT id FROM matured WHERE model = $model)) "
            "FROM labels WHERE model = $model AND time < $time AND NOT used",
            time=before,
        ).fetchone()
        unused, judged = row or (0, 0)
        verdict.outcomes["late"] += int(judged)
        verdict.outcomes[self._orphan] += int(unused - judged)
        self._execute("DELETE FROM labels WHERE model = $model AND time < $time", time=before)

    def _execute(self, statement: str, **parameters: int) -> Any:
        named = parameters | ({"model": self._model} if "$model" in statement else {})
        return (
            self._store.connection.execute(statement, named)
            if named
            else self._store.connection.execute(statement)
        )


def _differences(pairs: Mapping[str, Any]) -> dict[str, FloatArray]:
    """How much better the second prediction of each pair is; positive means better."""
    positive = pairs["label"] == POSITIVE
    decided = (pairs["class_a"] >= NEGATIVE) & (pairs["class_b"] >= NEGATIVE)
    right = [(pairs[name] == pairs["label"])[decided].astype(np.float64) for name in ("class_a", "class_b")]
    scored = np.isfinite(pairs["score_a"]) & np.isfinite(pairs["score_b"])
    scored &= (np.minimum(pairs["score_a"], pairs["score_b"]) >= 0) & (
        np.maximum(pairs["score_a"], pairs["score_b"]) <= 1
    )
    first, second, truth = pairs["score_a"][scored], pairs["score_b"][scored], positive[scored]
    return {
        "accuracy": right[1] - right[0],
        "brier_score": row_brier(first, truth) - row_brier(second, truth),
        "log_loss": row_log_loss(first, truth) - row_log_loss(second, truth),
    }
