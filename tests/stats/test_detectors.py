import json
import math
from collections.abc import Callable, Sequence
from dataclasses import asdict
from functools import partial
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from river import drift

from ml_exporter.stats.arrays import FloatArray
from ml_exporter.stats.detectors import (
    Adwin,
    Ddm,
    Ecusum,
    PageHinkley,
    bucket_sizes,
    ecusum_path,
    ecusum_threshold,
)

Restarting = PageHinkley | Ddm | Adwin

RIVER: list[tuple[Restarting, Callable[[], Any]]] = [
    (PageHinkley(), partial(drift.PageHinkley, mode="up")),
    (Ddm(), drift.binary.DDM),
    (Adwin(), drift.ADWIN),
]
NAMES = ["page_hinkley", "ddm", "adwin"]


def errors(seed: int, *parts: tuple[int, float]) -> FloatArray:
    """Errors (0 or 1) of rows whose error rate is constant within each (rows, rate)."""
    rng = np.random.default_rng(seed)
    return np.concatenate([(rng.random(rows) < rate).astype(float) for rows, rate in parts])


def normals(seed: int, *parts: tuple[int, float]) -> FloatArray:
    rng = np.random.default_rng(seed)
    return np.concatenate([rng.normal(mean, 0.1, rows) for rows, mean in parts])


STREAMS = {
    "jumps": errors(1, (1000, 0.1), (1000, 0.3), (1000, 0.12), (1000, 0.5)),
    "rare": errors(2, (2500, 0.002), (1500, 0.05)),
    "slow": errors(3, *((150, 0.1 + 0.01 * step) for step in range(30))),
    "stationary": errors(4, (4000, 0.2)),
    "perfect": errors(5, (500, 0.0), (500, 1.0), (500, 0.0)),
}
LOSSES = {
    "losses": normals(6, (1500, 0.2), (1000, 0.4), (1000, 0.1)),
    "large": normals(7, (1500, 1e6), (1000, 1e6 + 0.5)),
}


def alarm_rows(state: Restarting, values: FloatArray) -> list[int]:
    rows = []
    for row, value in enumerate(values):
        following = state.update(np.array([value]))
        if following.alarms > state.alarms:
            rows.append(row)
        state = following
    return rows


def river_rows(detector: Any, values: Sequence[float]) -> list[int]:
    rows = []
    for row, value in enumerate(values):
        detector.update(value)
        if detector.drift_detected:
            rows.append(row)
    return rows


@pytest.mark.parametrize("stream", STREAMS)
@pytest.mark.parametrize(("state", "river"), RIVER, ids=NAMES)
def test_alarms_are_those_of_river(stream: str, state: Restarting, river: Callable[[], Any]) -> None:
    values = STREAMS[stream]
    assert alarm_rows(state, values) == river_rows(river(), values.tolist())


@pytest.mark.parametrize("stream", LOSSES)
@pytest.mark.parametrize(("state", "river"), [RIVER[0], RIVER[2]], ids=[NAMES[0], NAMES[2]])
def test_alarms_on_losses_are_those_of_river(
    stream: str, state: Restarting, river: Callable[[], Any]
) -> None:
    values = LOSSES[stream]
    found = alarm_rows(state, values)
    assert found
    assert found == river_rows(river(), values.tolist())


def test_warnings_are_those_of_river() -> None:
    values, state = STREAMS["jumps"], Ddm()
    river: Any = drift.binary.DDM()
    for value in values:
        state = state.update(np.array([value]))
        river.update(bool(value))
        # River forgets a drift with the next row; the level stays until 30 rows allow a new judgement.
        assert (state.level == 1) == river.warning_detected or state.n <= 30


@given(st.lists(st.integers(0, 4000), max_size=8), st.sampled_from([state for state, _ in RIVER]))
def test_batches_may_be_cut_anywhere(cuts: list[int], state: Restarting) -> None:
    values = STREAMS["jumps"]
    pieces = state
    for part in np.split(values, sorted(cuts)):
        pieces = pieces.update(part)
    whole = state.update(values)
    assert pieces.alarms == whole.alarms >= 2
    assert json_numbers(pieces) == pytest.approx(json_numbers(whole))


@pytest.mark.parametrize("state", [*(state for state, _ in RIVER), Ecusum()], ids=[*NAMES, "ecusum"])
def test_a_state_survives_json(state: Restarting | Ecusum) -> None:
    def update(old: Restarting | Ecusum, values: FloatArray) -> Restarting | Ecusum:
        return old.update(values, 0.1, 1e5) if isinstance(old, Ecusum) else old.update(values)

    before, after = STREAMS["jumps"][:1500], STREAMS["jumps"][1500:]
    kept = update(state, before)
    restored = type(state)(**json.loads(json.dumps(asdict(kept), allow_nan=False)))
    assert update(restored, after) == update(kept, after)


def json_numbers(state: Restarting) -> list[float]:
    flat: list[float] = []
    for value in asdict(state).values():
        flat.extend(value if isinstance(value, tuple) else [value])
    return flat


@pytest.mark.parametrize("state", [state for state, _ in RIVER], ids=NAMES)
def test_an_alarm_is_shown_until_there_are_rows_to_judge_again(state: Restarting) -> None:
    values = STREAMS["jumps"]
    row = alarm_rows(state, values)[0]
    drifted = state.update(values[: row + 1])
    assert (state.level, drifted.level) == (0, 2)
    assert drifted.update(values[row + 1 : row + 29]).level == 2
    assert drifted.update(np.zeros(40)).level == 0


def test_no_rows_change_nothing() -> None:
    for state, _ in RIVER:
        kept = state.update(STREAMS["jumps"][:777])
        assert kept.update(np.empty(0)) == kept
    drifted = Ecusum().update(np.ones(200), 0.1, 1e5)
    assert drifted.update(np.empty(0), np.empty(0), 1e5) == drifted


@given(st.integers(0, 3000))
def test_buckets_of_adwin_are_what_merging_leaves(n: int) -> None:
    sizes: list[int] = []
    for _ in range(n):
        sizes.append(1)
        size = 1
        while sizes.count(size) > 5:
            oldest = sizes.index(size)
            sizes[oldest : oldest + 2] = [2 * size]
            size *= 2
    assert bucket_sizes(n).tolist() == sizes


def slow_path(losses: FloatArray, expected: FloatArray, threshold: float, log_m: float = 0.0) -> FloatArray:
    """The recursion as it is written down, row by row."""
    path, cap = [], math.log(10 * threshold)
    for loss, level in zip(losses, expected, strict=True):
        log_m = min(max(log_m, 0.0) + math.log(1 + 0.3 * (loss - level - 0.02)), cap)
        path.append(log_m)
    return np.array(path)


@pytest.mark.parametrize("threshold", [2.0, 100.0, 1e5])
def test_ecusum_is_its_recursion(threshold: float) -> None:
    rng = np.random.default_rng(8)
    losses = errors(8, *((400, rate) for rate in rng.beta(1, 2, 40)))
    expected = rng.beta(1, 4, losses.size)
    for start in (-0.2, 0.0, 0.4, math.log(10 * threshold)):
        path = ecusum_path(start, losses, expected, threshold)
        np.testing.assert_allclose(path, slow_path(losses, expected, threshold, start), atol=1e-9)


@given(st.lists(st.floats(0, 1), max_size=60), st.lists(st.integers(0, 60), max_size=3))
def test_ecusum_may_be_cut_anywhere(losses: list[float], cuts: list[int]) -> None:
    values, state = np.array(losses), Ecusum()
    for part in np.split(values, sorted(cuts)):
        state = state.update(part, 0.3, 5.0)
    whole = Ecusum().update(values, 0.3, 5.0)
    assert state.log_m == pytest.approx(whole.log_m, abs=1e-9)
    assert (state.level, state.alarms, state.drifting) == (whole.level, whole.alarms, whole.drifting)


def test_levels_and_alarms_of_ecusum() -> None:
    state = Ecusum()
    seen: list[tuple[int, int]] = []
    for loss in [1.0] * 60 + [0.0] * 40 + [1.0] * 20 + [0.0] * 200 + [1.0] * 60:
        state = state.update(np.array([loss]), 0.2, 1e5)
        if not seen or seen[-1] != (state.level, state.alarms):
            seen.append((state.level, state.alarms))
    dip, end = [(1, 1), (2, 1)], [(1, 1), (0, 1), (1, 1), (2, 2)]
    assert seen == [(0, 0), (1, 0), (2, 1), *dip, *end]


def test_ecusum_recovers_from_a_long_drift() -> None:
    drifted = Ecusum().update(errors(9, (100_000, 0.5)), 0.2, 1e5)
    assert drifted.level == 2
    assert drifted.alarms == 1
    assert drifted.update(errors(10, (500, 0.2)), 0.2, 1e5).level < 2
    assert drifted.update(errors(10, (2000, 0.2)), 0.2, 1e5).level == 0


def test_ecusum_counts_a_drift_that_hovers_once() -> None:
    """An error rate just above the tolerance keeps M near A for a long time."""
    path = ecusum_path(0.0, errors(11, (100_000, 0.145)), 0.1, 1e5)
    crossings = np.count_nonzero((path[1:] >= math.log(1e5)) & (path[:-1] < math.log(1e5)))
    assert crossings > 50
    assert Ecusum().update(errors(11, (100_000, 0.145)), 0.1, 1e5).alarms <= 3


def test_threshold_of_ecusum_is_a_year_of_labels() -> None:
    paces = np.asarray([0.0, 2e4, 1e5, 1.1e5, 3e7])
    found = ecusum_threshold(paces)
    assert found.tolist() == [1e5, 1e5, 1e5, 2e5, 512e5]
    assert np.all(found >= paces)


def time_to_false_alarm(threshold: float, rate: float, runs: int, rows: int) -> float:
    """Mean row of the first alarm, at the edge of what the tolerance allows; runs that end count as ended."""
    rng = np.random.default_rng(12)
    first = []
    for _ in range(runs):
        losses = (rng.random(rows) < rate + 0.02).astype(float)
        over = np.flatnonzero(ecusum_path(0.0, losses, rate, threshold) >= math.log(threshold))
        first.append(int(over[0]) + 1 if over.size else rows)
    return float(np.mean(first))


@pytest.mark.parametrize("rate", [0.01, 0.2, 0.5])
def test_mean_time_to_a_false_alarm_is_at_least_the_threshold(rate: float) -> None:
    assert time_to_false_alarm(200.0, rate, runs=100, rows=5_000) >= 200


@pytest.mark.long
@pytest.mark.parametrize("rate", [0.002, 0.01, 0.1, 0.3, 0.5])
def test_mean_time_to_a_false_alarm_is_at_least_a_large_threshold(rate: float) -> None:
    assert time_to_false_alarm(5_000.0, rate, runs=300, rows=100_000) >= 5_000


@pytest.mark.parametrize("jump", [0.2, 0.3])
@pytest.mark.parametrize("rate", [0.02, 0.2, 0.4])
def test_a_jump_of_the_error_rate_is_found_within_700_labels(jump: float, rate: float) -> None:
    delays = []
    for seed in range(60):
        calm = Ecusum().update(errors(seed, (5000, rate)), rate, 1e5)
        assert calm.alarms == 0
        path = ecusum_path(calm.log_m, errors(1000 + seed, (3000, rate + jump)), rate, 1e5)
        delays.append(int(np.argmax(path >= math.log(1e5))) + 1)
    assert max(delays) > 1
    assert float(np.quantile(delays, 0.9)) < 700
