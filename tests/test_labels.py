from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.book import Book, Served, Truth

from ml_exporter.labels import DELAY_BOUNDS, EARLY, Rules, Verdict, Waiting
from ml_exporter.sources.batch import ABSENT, NEGATIVE, POSITIVE, Labels, Predictions
from ml_exporter.store import Store

UNIT = 600 * 1_000_000
"""Ten minutes."""

RULES = Rules(maturity=18 * UNIT, wait=60 * UNIT)
FOREVER = 10_000 * UNIT


def predictions(rows: list[Served], errors: list[bool] | None = None) -> Predictions:
    n = len(rows)
    return Predictions(
        ids=np.array([row.id for row in rows], np.uint64),
        times=np.array([row.time for row in rows], np.int64),
        versions=np.array([row.version for row in rows], np.int64),
        version_names=("champion", "shadow"),
        scores=np.array([row.score for row in rows], np.float64),
        classes=np.array([row.score >= 0.5 for row in rows], np.int8),
        labels=None,
        latency=np.full(n, np.nan),
        errors=np.array(errors or [False] * n, np.bool_),
        numbers={},
        categories={},
        category_values={},
    )


def labels(rows: list[Truth]) -> Labels:
    return Labels(
        np.array([row.id for row in rows], np.uint64),
        np.array([row.time for row in rows], np.int64),
        np.array([row.label for row in rows], np.int8),
    )


def tallied(verdict: Verdict) -> Counter[tuple[int, int, int]]:
    return Counter(
        (int(time), version, int(label))
        for version, parts in verdict.rows.items()
        for part in parts
        for time, label in zip(part.times, part.labels, strict=True)
    )


class Run:
    """The real join, driven as the engine drives it."""

    def __init__(self, store: Store, rules: Rules) -> None:
        self.store = store
        self.waiting = Waiting(store, 0, rules)
        self.waiting.forget()
        self.outcomes: Counter[str] = Counter()
        self.rows: Counter[tuple[int, int, int]] = Counter()
        self.delays = np.zeros(len(DELAY_BOUNDS) + 1, np.int64)
        self.delay_sum = 0.0
        self.horizon = 0

    def predict(self, rows: list[Served]) -> None:
        batch = predictions(rows)
        self.waiting.add_predictions(batch, batch.versions)

    def label(self, rows: list[Truth]) -> None:
        self.outcomes += self.waiting.add_labels(labels(rows), self.horizon)

    def judge(self, horizon: int, label_horizon: int | None = None) -> Verdict:
        self.horizon = horizon if label_horizon is None else label_horizon
        verdict = self.waiting.judge(horizon, self.horizon)
        self.outcomes += verdict.outcomes
        self.rows += tallied(verdict)
        self.delays = self.delays + verdict.delays
        self.delay_sum += verdict.delay_sum
        return verdict

    def unread(self) -> int:
        """Labels whose outcome is not known yet."""
        found = self.store.connection.execute("SELECT count(*) FROM labels WHERE NOT used").fetchone()
        assert found is not None
        return int(found[0])


@pytest.fixture(scope="module")
def store() -> Iterator[Store]:
    opened = Store(None)
    yield opened
    opened.close()


@pytest.fixture
def run(store: Store) -> Run:
    return Run(store, RULES)


ids = st.integers(0, 7)
moments = st.integers(0, 120).map(lambda units: units * UNIT)
steps = st.one_of(
    st.tuples(st.just("predict"), st.lists(st.builds(Served, ids, moments, st.integers(0, 1)), max_size=6)),
    st.tuples(st.just("label"), st.lists(st.builds(Truth, ids, moments, st.integers(0, 1)), max_size=6)),
    st.tuples(st.just("judge"), st.tuples(moments, moments)),
)
rules = st.builds(
    Rules,
    maturity=st.sampled_from([0, 18 * UNIT]),
    wait=st.sampled_from([18 * UNIT, 60 * UNIT]),
    silence=st.sampled_from(["unknown", "negative"]),
    shared=st.booleans(),
    paired=st.booleans(),
)


@settings(max_examples=35)
@given(rules=rules, script=st.lists(steps, min_size=3, max_size=14))
def test_any_order_of_rows_gives_what_a_plain_model_gives(
    store: Store, rules: Rules, script: list[tuple[str, Any]]
) -> None:
    run, book, read, horizon = Run(store, rules), Book(rules), 0, 0
    for action, given_ in [*script, ("judge", (FOREVER, FOREVER))]:
        if action == "predict":
            run.predict(given_)
            book.pending += given_
        elif action == "label":
            run.label(given_)
            book.add_labels(given_, horizon)
            read += len(given_)
        else:
            clock, other = given_
            horizon = min(clock, other)
            run.judge(clock, horizon)
            book.judge(clock, horizon)
        assert run.outcomes == book.outcomes
        assert run.rows == book.rows
        assert run.outcomes.total() + run.unread() == read
    assert run.unread() == 0
    assert run.waiting.pending() == 0
    assert int(run.delays.sum()) == len(book.delays)
    assert run.delay_sum == pytest.approx(sum(book.delays))


def logs(seed: int) -> tuple[list[Served], list[Truth]]:
    """A day of predictions with their shadows, and labels of every kind, both in the order of their stamps."""
    draw = random.Random(seed)
    served, truths = [], []
    for number in range(100):
        time = number * UNIT
        served += [Served(number, time), Served(number, time + UNIT, version=1)]
        kind = draw.choice(["none", "in time", "in time", "in time", "early", "too early", "late", "twice"])
        when = {
            "in time": draw.randint(0, 18),
            "early": -draw.randint(1, 6),
            "too early": -draw.randint(8, 20),
            "late": draw.randint(20, 60),
            "twice": 3,
        }.get(kind)
        if when is not None:
            truths.append(Truth(number, time + when * UNIT, draw.randint(0, 1)))
        if kind == "twice":
            truths.append(Truth(number, time + draw.randint(4, 60) * UNIT, draw.randint(0, 1)))
        if number % 10 == 0:
            truths.append(Truth(1_000 + number, time, 1))
    return served, sorted(truths, key=lambda truth: truth.time)


@pytest.mark.parametrize("seed", range(2))
def test_small_steps_and_one_great_one_agree(store: Store, seed: int) -> None:
    served, truths = logs(seed)
    rules = Rules(RULES.maturity, RULES.wait, paired=True)
    at_once = Run(store, rules)
    at_once.predict(served)
    at_once.label(truths)
    at_once.judge(FOREVER)
    stepwise, clock = Run(store, rules), -20 * UNIT
    while clock < 400 * UNIT:
        until = clock + random.Random(clock).randint(1, 20) * UNIT
        stepwise.label([row for row in truths if clock <= row.time < until])
        stepwise.predict([row for row in served if clock <= row.time < until])
        stepwise.judge(until - 1)  # what is stamped `until` is not read yet
        clock = until
    stepwise.judge(FOREVER)
    assert stepwise.outcomes == at_once.outcomes
    assert stepwise.rows == at_once.rows
    assert at_once.outcomes.total() == len(truths)
    assert min(at_once.outcomes[name] for name in ("matched", "early", "late", "orphan", "duplicate")) > 0


def test_coverage_is_the_share_of_mature_predictions_with_a_label(run: Run) -> None:
    run.predict([Served(number, number * UNIT) for number in range(10)])
    run.label([Truth(number, number * UNIT, NEGATIVE) for number in range(0, 10, 3)])
    run.judge(RULES.maturity + 6 * UNIT)
    judged = {time // UNIT: label for time, _, label in run.rows}
    assert judged == {number: NEGATIVE if number % 3 == 0 else ABSENT for number in range(7)}
    assert run.waiting.pending() == 3


def test_a_prediction_is_judged_the_moment_it_is_mature(run: Run) -> None:
    run.predict([Served(1, 5 * UNIT)])
    run.judge(5 * UNIT + RULES.maturity - 1)
    assert not run.rows
    run.judge(5 * UNIT + RULES.maturity)
    assert run.rows == {(5 * UNIT, 0, ABSENT): 1}


@pytest.mark.parametrize(
    ("moment", "outcome"),
    [
        (-EARLY - 1, "orphan"),
        (-EARLY, "early"),
        (-1, "early"),
        (0, "matched"),
        (RULES.maturity, "matched"),
        (RULES.maturity + 1, "late"),
        (RULES.wait, "late"),
        (RULES.wait + 1, "orphan"),
    ],
)
@pytest.mark.parametrize("read", ["before", "after"])
def test_edges_of_the_outcomes(run: Run, moment: int, outcome: str, read: str) -> None:
    time = 1_000 * UNIT
    run.predict([Served(1, time)])
    if read == "after" and moment > RULES.maturity:
        run.judge(time + moment)
    run.label([Truth(1, time + moment, POSITIVE)])
    run.judge(FOREVER)
    assert run.outcomes == {outcome: 1}


def test_labels_of_another_shard_are_foreign(store: Store) -> None:
    run = Run(store, Rules(RULES.maturity, RULES.wait, shared=True))
    run.label([Truth(1, 0, POSITIVE)])
    run.judge(FOREVER)
    assert run.outcomes == {"foreign": 1}


def test_a_label_older_than_the_memory_is_expired(run: Run) -> None:
    run.judge(1_000 * UNIT)
    oldest = 1_000 * UNIT - RULES.memory
    run.label([Truth(1, oldest - 1, POSITIVE), Truth(2, oldest, POSITIVE)])
    assert run.outcomes == {"expired": 1}
    assert run.unread() == 1


def test_a_late_label_that_was_read_early_is_late(run: Run) -> None:
    """The label log is read ahead of the other; the id is remembered until the label's time has come."""
    run.predict([Served(1, 0)])
    run.label([Truth(1, RULES.wait, POSITIVE)])
    for horizon in range(30 * UNIT, RULES.wait + 30 * UNIT, 5 * UNIT):
        run.judge(horizon)
    assert run.outcomes == {"late": 1}


def test_a_backlog_of_labels_does_not_expire_itself(run: Run) -> None:
    """The label log was down for longer than ids are kept; its first block covers all of that time."""
    run.predict([Served(1, 0)])
    run.label([Truth(1, UNIT, POSITIVE), Truth(2, 500 * UNIT, POSITIVE)])
    run.judge(500 * UNIT)
    assert run.outcomes == {"matched": 1}


def test_the_first_label_counts_and_corrections_are_duplicates(run: Run) -> None:
    run.predict([Served(1, 0)])
    run.label([Truth(1, UNIT, POSITIVE), Truth(1, 2 * UNIT, NEGATIVE)])
    run.label([Truth(1, 3 * UNIT, NEGATIVE)])
    run.judge(RULES.maturity)
    run.label([Truth(1, 19 * UNIT, NEGATIVE)])
    assert run.rows == {(0, 0, POSITIVE): 1}
    assert run.outcomes == {"matched": 1, "duplicate": 3}


def test_a_late_label_stays_late_when_it_comes_twice(run: Run) -> None:
    run.predict([Served(1, 0)])
    run.judge(20 * UNIT)
    run.label([Truth(1, 20 * UNIT, POSITIVE), Truth(1, 20 * UNIT, POSITIVE)])
    run.label([Truth(1, 20 * UNIT, POSITIVE)])
    assert run.outcomes == {"late": 3}


def test_a_shadow_shares_the_label_and_it_counts_once(store: Store) -> None:
    run = Run(store, Rules(RULES.maturity, RULES.wait, paired=True))
    run.predict([Served(1, 0), Served(1, UNIT, version=1)])
    run.label([Truth(1, 30 * 1_000_000, POSITIVE)])
    run.judge(RULES.maturity)
    run.judge(RULES.maturity + UNIT)
    assert run.rows == {(0, 0, POSITIVE): 1, (UNIT, 1, POSITIVE): 1}
    assert run.outcomes == {"matched": 1}
    assert run.delays.tolist() == [1] + [0] * len(DELAY_BOUNDS)
    assert run.delay_sum == 30.0


def test_a_label_between_twins_is_in_time(store: Store) -> None:
    run = Run(store, Rules(RULES.maturity, RULES.wait, paired=True))
    run.predict([Served(1, 0), Served(1, UNIT, version=1)])
    run.label([Truth(1, UNIT // 10, POSITIVE)])
    run.judge(FOREVER)
    assert run.outcomes == {"matched": 1}
    assert run.delay_sum == 60.0


def test_a_label_too_late_for_one_twin_is_in_time_for_the_other(store: Store) -> None:
    run = Run(store, Rules(RULES.maturity, RULES.wait, paired=True))
    run.predict([Served(1, 0), Served(1, 2 * UNIT, version=1)])
    run.judge(RULES.maturity + UNIT)
    run.label([Truth(1, RULES.maturity + UNIT, POSITIVE)])
    run.judge(FOREVER)
    assert run.rows == {(0, 0, ABSENT): 1, (2 * UNIT, 1, POSITIVE): 1}
    assert run.outcomes == {"matched": 1}


def test_silence_means_negative_where_logs_record_positives_only(store: Store) -> None:
    run = Run(store, Rules(RULES.maturity, RULES.wait, silence="negative"))
    run.predict([Served(1, 0), Served(2, 0)])
    run.label([Truth(2, UNIT, POSITIVE)])
    run.judge(RULES.maturity)
    run.label([Truth(1, 19 * UNIT, POSITIVE)])
    assert run.rows == {(0, 0, NEGATIVE): 1, (0, 0, POSITIVE): 1}
    assert run.outcomes == {"matched": 1, "late": 1}


def test_requests_that_failed_are_never_judged(run: Run) -> None:
    batch = predictions([Served(1, 0), Served(2, 0)], errors=[True, False])
    run.waiting.add_predictions(batch, batch.versions)
    assert run.waiting.pending() == 1


def test_models_do_not_see_each_other(store: Store) -> None:
    first, second = Run(store, RULES), Run(store, RULES)
    second.waiting = Waiting(store, 1, RULES)
    second.waiting.forget()
    first.predict([Served(1, 0)])
    second.label([Truth(1, UNIT, POSITIVE)])
    first.judge(FOREVER)
    second.judge(FOREVER)
    assert first.rows == {(0, 0, ABSENT): 1}
    assert second.outcomes == {"orphan": 1}


def test_more_than_one_batch_is_judged_at_once(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ml_exporter.labels._BATCH", 7)
    run.predict([Served(number, number * UNIT) for number in range(50)])
    run.label([Truth(number, number * UNIT, POSITIVE) for number in range(50)])
    run.judge(RULES.maturity + 39 * UNIT)
    assert sorted(run.rows) == [(number * UNIT, 0, POSITIVE) for number in range(40)]
    assert run.outcomes["matched"] == 40
    assert run.waiting.pending() == 10


def test_too_many_waiting_predictions_count_as_unlabelled(store: Store) -> None:
    run = Run(store, Rules(RULES.maturity, RULES.wait, silence="negative"))
    other = Waiting(store, 1, RULES)
    other.forget()
    batch = predictions([Served(number, number * UNIT) for number in range(5, 10)])
    other.add_predictions(batch, batch.versions)
    run.predict([Served(number, number * UNIT) for number in range(8)])
    run.label([Truth(0, 0, POSITIVE)])
    verdict = Verdict()
    run.waiting.evict(9, verdict)
    # The oldest of both models, and none of them with a label, so that no class is favoured.
    assert verdict.evicted == 4
    assert tallied(verdict) == {(number * UNIT, 0, ABSENT): 1 for number in range(4)}
    run.waiting.evict(9, verdict)
    assert verdict.evicted == 4
    run.judge(FOREVER)
    assert run.outcomes == {"late": 1}
    other.forget()


def test_delays_fall_into_their_buckets(run: Run) -> None:
    seconds = [0, 60, 61, 3600, 10_800]
    run.predict([Served(number, 0) for number, _ in enumerate(seconds)])
    run.label([Truth(number, delay * 1_000_000, POSITIVE) for number, delay in enumerate(seconds)])
    run.judge(RULES.maturity)
    assert run.delays.tolist()[:6] == [2, 1, 0, 1, 1, 0]
    assert run.delay_sum == sum(seconds)
