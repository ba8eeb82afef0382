"""Delay and false alarms of all detectors on streams whose change is known.

`python -m tests.stats.test_detectors_table` prints the table.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import pytest

from ml_exporter.stats.arrays import FloatArray
from ml_exporter.stats.detectors import Adwin, Ddm, Ecusum, PageHinkley

BEFORE, AFTER = 10_000, 5_000
STEP = 25


class State(Protocol):
    @property
    def alarms(self) -> int: ...


@dataclass(frozen=True)
class Stream:
    """Rows before and after a change: what the scores expect of each (n,) and its error (n,).

    `drift` says whether the model became worse than its scores say, so that an alarm is wanted.
    """

    name: str
    difficulty: Callable[[np.random.Generator], FloatArray]
    shift: Callable[[], FloatArray]
    drift: bool

    def draw(self, rng: np.random.Generator) -> tuple[FloatArray, FloatArray]:
        expected = self.difficulty(rng)
        rate = expected.copy()
        rate[BEFORE:] += self.shift()
        return (rng.random(rate.size) < rate).astype(float), expected


def alike(rng: np.random.Generator) -> FloatArray:
    """Rows of mixed difficulty; one error in five in the mean, at most 0.6 in a row."""
    return np.asarray(0.6 * rng.beta(1, 2, BEFORE + AFTER))


def daily(rng: np.random.Generator) -> FloatArray:
    """Rows that are harder by day than by night, 1,000 a day, as the scores know."""
    hour = np.arange(BEFORE + AFTER) * 2 * np.pi / 1_000
    return np.asarray(alike(rng) * (1 + 0.6 * np.sin(hour)))


def harder(rng: np.random.Generator) -> FloatArray:
    """Rows that become harder at the change, as the scores know: 20 % errors, then 30 %."""
    return np.asarray(alike(rng) * np.repeat([1.0, 1.5], [BEFORE, AFTER]))


def jump(points: float) -> Callable[[], FloatArray]:
    return lambda: np.full(AFTER, points)


def ramp() -> FloatArray:
    return np.linspace(0.0, 0.2, AFTER)


STREAMS = [
    Stream("no change", alike, jump(0.0), False),
    Stream("daily rhythm, no change", daily, jump(0.0), False),
    Stream("harder rows, known to the scores", harder, jump(0.0), False),
    Stream("jump of 5 points", alike, jump(0.05), True),
    Stream("jump of 10 points", alike, jump(0.10), True),
    Stream("jump of 20 points", alike, jump(0.20), True),
    Stream("jump of 30 points", alike, jump(0.30), True),
    Stream("rise to 20 points over 5,000 rows", alike, ramp, True),
]


def _ecusum(state: State, losses: FloatArray, expected: FloatArray) -> State:
    assert isinstance(state, Ecusum)
    return state.update(losses, expected, 1e5)


def _plain(state: State, losses: FloatArray, _expected: FloatArray) -> State:
    assert isinstance(state, PageHinkley | Ddm | Adwin)
    return state.update(losses)


Update = Callable[[State, FloatArray, FloatArray], State]
DETECTORS: Mapping[str, tuple[State, Update]] = {
    "e-CUSUM": (Ecusum(), _ecusum),
    "Page-Hinkley": (PageHinkley(), _plain),
    "DDM": (Ddm(), _plain),
    "ADWIN": (Adwin(), _plain),
}


@dataclass(frozen=True)
class Outcome:
    """Shares of runs: with an alarm before the change, and with one after it; median rows until that."""

    false: float
    found: float
    delay: float


def outcome(stream: Stream, detector: str, runs: int) -> Outcome:
    """What a detector does in so many runs; an alarm counts at the end of its 25 rows."""
    start, update = DETECTORS[detector]
    false, delays = [], []
    for seed in range(runs):
        losses, expected = stream.draw(np.random.default_rng(seed))
        state = update(start, losses[:BEFORE], expected[:BEFORE])
        false.append(state.alarms > 0)
        delay = _delay(state, update, losses[BEFORE:], expected[BEFORE:])
        delays.extend([] if delay is None else [delay])
    median = float(np.median(delays)) if delays else float("nan")
    return Outcome(float(np.mean(false)), len(delays) / runs, median)


def _delay(state: State, update: Update, losses: FloatArray, expected: FloatArray) -> int | None:
    before = state.alarms
    for row in range(0, losses.size, STEP):
        state = update(state, losses[row : row + STEP], expected[row : row + STEP])
        if state.alarms > before:
            return row + STEP
    return None


def table(streams: Iterable[Stream], runs: int) -> dict[str, dict[str, Outcome]]:
    """Outcomes by the stream's name and the detector's."""
    return {stream.name: {name: outcome(stream, name, runs) for name in DETECTORS} for stream in streams}


def markdown(outcomes: Mapping[str, Mapping[str, Outcome]]) -> str:
    """Table of text; each cell tells false alarms before, alarms after, median rows until these."""
    lines = ["| stream | " + " | ".join(DETECTORS) + " |", "| --- " * (len(DETECTORS) + 1) + "|"]
    for name, row in outcomes.items():
        cells = [f"{o.false:.0%}, {o.found:.0%}, {o.delay:,.0f}" for o in row.values()]
        lines.append(f"| {name} | " + " | ".join(cell.replace(", nan", "") for cell in cells) + " |")
    return "\n".join(lines)


def test_only_the_ecusum_tells_drift_from_difficulty() -> None:
    outcomes = table([STREAMS[2], STREAMS[5]], runs=5)
    harder_rows, jumped = outcomes[STREAMS[2].name], outcomes[STREAMS[5].name]
    assert harder_rows["e-CUSUM"].found == 0
    assert all(harder_rows[name].found == 1 for name in ("Page-Hinkley", "ADWIN"))
    assert all(jumped[name].found == 1 for name in ("e-CUSUM", "Page-Hinkley", "ADWIN"))
    assert "| jump of 20 points | 0%, 100%, " in markdown(outcomes)


@pytest.mark.long
def test_table_of_delays_and_false_alarms() -> None:
    outcomes = table(STREAMS, runs=100)
    print(markdown(outcomes))
    for stream in STREAMS:
        ecusum = outcomes[stream.name]["e-CUSUM"]
        assert ecusum.false == 0
        assert ecusum.found == 0 or stream.drift
    delays = {name: outcomes[f"jump of {name} points"]["e-CUSUM"] for name in (10, 20, 30)}
    assert all(delay.found == 1 for delay in delays.values())
    assert delays[30].delay < delays[20].delay < 700
    assert delays[10].delay < 2_000
    assert outcomes["no change"]["DDM"].false >= 0.2
    assert outcomes["harder rows, known to the scores"]["ADWIN"].found == 1


if __name__ == "__main__":
    print(markdown(table(STREAMS, runs=100)))
