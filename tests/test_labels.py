from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.book import Book, Served, Truth

from ml_exporter.labels import DELAY_BOUNDS, EARLY, Rules, Verdict, Waiting
from ml_exporter.sources.batch import ABSENT, NEGATIVE, POSITIVE, Labels, Predictions
from ml_exporter.store import Store
from ml_exporter.tasks.binary import Binary

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
        classes=np.array([row.score >= 0.5 for row in rows], np.int16),
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
        np.array([row.label for row in rows], np.float64),
    )


def tallied(verdict: Verdict) -> Counter[tuple[int, int, int]]:
    return Counter(
        (int(time), version, ABSENT if np.isnan(label) else int(label))
        for version, parts in verdict.rows.items()
        for part in parts
        for time, label in zip(part.times, part.labels, strict=True)
    )


class Run:
    """The real join, driven as the engine drives it."""

    def __init__(self, store: Store, rules: Rules) -> None:
        self.store = store
        self.waiting = Waiting(store, 0, rules, losses=Binary(scored=True).losses)
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


delays = st.integers(0, 17 * UNIT - 1)
arrivals = st.lists(
    st.tuples(
        st.builds(Served, ids, moments, st.integers(0, 1)), delays, st.lists(st.integers(-7, 60), max_size=4)
    ),
    max_size=10,
)


@settings(max_examples=20)
@given(rules=rules, arrivals=arrivals, cuts=st.lists(st.integers(-20, 240), max_size=12), draw=st.randoms())
def test_the_order_of_arrival_changes_nothing(
    store: Store, rules: Rules, arrivals: list[Any], cuts: list[int], draw: random.Random
) -> None:
    """Read at once and shuffled, or bit by bit, predictions late by less than the maturity and labels ahead."""
    served = [(row.time + (delay if rules.maturity else 0), row) for row, delay, _ in arrivals]
    moments_ = {(row.id, row.time + unit * UNIT) for row, _, units in arrivals for unit in units}
    truths = [
        (when - draw.randint(0, 50 * UNIT), Truth(id_, when, when // UNIT % 2)) for id_, when in moments_
    ]
    draw.shuffle(served)
    draw.shuffle(truths)
    at_once, stepwise = Run(store, rules), Run(store, rules)
    at_once.predict([row for _, row in served])
    at_once.label([truth for _, truth in truths])
    at_once.judge(FOREVER)
    stepwise.waiting.forget()
    before = -FOREVER
    for until in [*sorted(cut * UNIT for cut in cuts), FOREVER]:
        stepwise.label([truth for when, truth in truths if before <= when < until])
        stepwise.predict([row for when, row in served if before <= when < until])
        stepwise.judge(until - 1)  # what is stamped `until` is not read yet
        before = until
    assert stepwise.rows == at_once.rows
    assert stepwise.outcomes == at_once.outcomes
    assert at_once.outcomes.total() == len(truths)
    assert stepwise.delays.tolist() == at_once.delays.tolist()
    assert stepwise.delay_sum == pytest.approx(at_once.delay_sum)


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
    # What was there when the prediction was judged is known at once, and what came after when it leaves.
    assert run.outcomes == {"matched": 1, "duplicate": 2}
    run.label([Truth(1, 18 * UNIT, NEGATIVE), Truth(1, 19 * UNIT, NEGATIVE)])
    run.judge(FOREVER)
    assert run.rows == {(0, 0, POSITIVE): 1}
    assert run.outcomes == {"matched": 1, "duplicate": 4}


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 0, 2)])
def test_the_first_label_is_the_one_with_the_earliest_stamp(run: Run, order: tuple[int, ...]) -> None:
    rows = [Truth(1, UNIT, POSITIVE), Truth(1, 2 * UNIT, NEGATIVE), Truth(1, -EARLY - 1, NEGATIVE)]
    run.predict([Served(1, 0)])
    run.label([rows[index] for index in order])
    run.judge(FOREVER)
    assert run.rows == {(0, 0, POSITIVE): 1}
    # The one that is too early for its prediction is nobody's.
    assert run.outcomes == {"matched": 1, "duplicate": 1, "orphan": 1}
    assert run.delay_sum == 600.0


@pytest.mark.parametrize("answers", [(POSITIVE, NEGATIVE), (NEGATIVE, POSITIVE)])
def test_of_two_with_one_stamp_the_one_that_came_first_counts(run: Run, answers: tuple[int, int]) -> None:
    run.predict([Served(1, 0)])
    for answer in answers:
        run.label([Truth(1, UNIT, answer)])
    run.judge(FOREVER)
    assert run.rows == {(0, 0, answers[0]): 1}


@pytest.mark.parametrize("kind", ["late", "orphan"])
def test_of_labels_without_a_prediction_one_a_slice_counts(run: Run, kind: str) -> None:
    """However many slices leave at once."""
    if kind == "late":
        run.predict([Served(1, 0)])
    start = 20 * UNIT - 20 * UNIT % RULES.slice
    within, next_ = start + RULES.slice - 1, start + RULES.slice
    run.label([Truth(1, time, POSITIVE) for time in (start, within, next_)])
    run.judge(FOREVER)
    assert run.outcomes == {kind: 2, "duplicate": 1}


def test_of_a_slice_the_first_label_tells_what_it_is(run: Run) -> None:
    time = 1_000 * RULES.slice + RULES.slice // 2
    run.predict([Served(1, time - RULES.wait)])
    run.label([Truth(1, time + 1, POSITIVE), Truth(1, time, POSITIVE)])
    run.judge(FOREVER)
    assert run.outcomes == {"late": 1, "duplicate": 1}


def test_a_correction_later_than_the_wait_is_nobodys_however_often_one_looks(store: Store) -> None:
    for steps in ([FOREVER], range(0, 300 * UNIT, 7 * UNIT)):
        run = Run(store, RULES)
        run.predict([Served(1, 0)])
        run.label([Truth(1, 0, POSITIVE), Truth(1, RULES.wait, POSITIVE), Truth(1, RULES.wait + 1, POSITIVE)])
        for horizon in steps:
            run.judge(horizon)
        assert run.outcomes == {"matched": 1, "duplicate": 1, "orphan": 1}


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


@pytest.mark.parametrize("horizons", [(RULES.maturity, FOREVER), (FOREVER,)])
def test_a_label_is_to_a_twin_what_it_was_to_the_first(store: Store, horizons: tuple[int, ...]) -> None:
    """The second label is a duplicate for the champion; the shadow, too far from the first one, is judged with it."""
    run = Run(store, Rules(RULES.maturity, RULES.wait, paired=True))
    run.predict([Served(1, 0), Served(1, 10 * UNIT, version=1)])
    run.label([Truth(1, UNIT, POSITIVE), Truth(1, 5 * UNIT, NEGATIVE)])
    for horizon in horizons:
        run.judge(horizon)
    assert run.rows == {(0, 0, POSITIVE): 1, (10 * UNIT, 1, NEGATIVE): 1}
    assert run.outcomes == {"matched": 1, "duplicate": 1}


def test_silence_means_negative_where_logs_record_positives_only(store: Store) -> None:
    run = Run(store, Rules(RULES.maturity, RULES.wait, silence="negative"))
    run.predict([Served(1, 0), Served(2, 0)])
    run.label([Truth(2, UNIT, POSITIVE)])
    run.judge(RULES.maturity)
    run.label([Truth(1, 19 * UNIT, POSITIVE)])
    run.judge(FOREVER)
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


class Overheard:
    """A store that tells which tables its statements name."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.connection = store.connection
        self.said: list[str] = []

    def query(self, statement: str, parameters: dict[str, object]) -> Any:
        self.said.append(statement)
        return self._store.query(statement, parameters)

    def insert(self, table: str, columns: dict[str, np.ndarray[Any, Any]]) -> None:
        self.said.append(f"INSERT INTO {table}")
        self._store.insert(table, columns)

    def tables(self) -> set[str]:
        found = {table for table in ("labels", "pending", "matured") for said in self.said if table in said}
        self.said.clear()
        return found


def test_labels_are_added_without_a_look_at_any_row(store: Store) -> None:
    overheard = Overheard(store)
    waiting = Waiting(cast(Store, overheard), 0, RULES)
    waiting.add_labels(labels([Truth(1, 0, POSITIVE)]), 0)
    assert overheard.said == ["INSERT INTO labels"]
    waiting.forget()


def test_what_has_matured_is_looked_at_once_a_slice(store: Store) -> None:
    overheard = Overheard(store)
    waiting = Waiting(cast(Store, overheard), 0, RULES)
    waiting.forget()
    start = 1_000 * RULES.slice + RULES.reach
    looks = []
    for horizon in range(start, start + 3 * RULES.slice, RULES.slice // 10):
        # Behind all that has left, so that something could be settled each time.
        waiting.add_labels(labels([Truth(horizon, start - 10 * UNIT - RULES.reach, POSITIVE)]), horizon)
        overheard.said.clear()
        waiting.judge(horizon, horizon)
        looks.append("matured" in overheard.tables())
    assert looks == ([True] + [False] * 9) * 3
    waiting.forget()


def test_the_slice_that_has_left_is_known_after_a_restart(tmp_path: Path) -> None:
    path, looks = tmp_path / "state.duckdb", []
    for cycle in range(9):
        store = Store(path)
        overheard = Overheard(store)
        waiting = Waiting(cast(Store, overheard), 0, RULES)
        now = 1_000 * RULES.slice + RULES.reach + cycle * RULES.slice // 4
        with store.transaction():
            waiting.judge(now, now)
        looks.append("matured" in overheard.tables())
        store.close()
    assert looks == [cycle % 4 == 0 for cycle in range(9)]


def test_what_was_settled_and_rolled_back_is_settled_again(tmp_path: Path) -> None:
    store = Store(tmp_path / "state.duckdb")
    waiting = Waiting(store, 0, RULES)
    with store.transaction():
        waiting.add_labels(labels([Truth(1, 0, POSITIVE)]), 0)
    outcomes = []
    for fails in (True, False, False):
        with suppress(KeyError), store.transaction():
            outcomes.append(+waiting.judge(FOREVER, FOREVER).outcomes)
            if fails:
                raise KeyError
    assert outcomes == [{"orphan": 1}, {"orphan": 1}, {}]
    store.close()


def test_delays_fall_into_their_buckets(run: Run) -> None:
    seconds = [0, 60, 61, 3600, 10_800]
    run.predict([Served(number, 0) for number, _ in enumerate(seconds)])
    run.label([Truth(number, delay * 1_000_000, POSITIVE) for number, delay in enumerate(seconds)])
    run.judge(RULES.maturity)
    assert run.delays.tolist()[:6] == [2, 1, 0, 1, 1, 0]
    assert run.delay_sum == sum(seconds)
