"""Detectors of concept drift: small frozen states that take batches of losses, in the order of time.

All are pure (`update` returns the next state), do not depend on how rows are cut into batches, and keep
only numbers, so `dataclasses.asdict` is what the store needs and `State(**numbers)` is the way back.
`level` is 0 stable, 1 warning, 2 drift; `alarms` counts how often drift began. Only `Ecusum` bounds its
false alarms; the other three are what the field knows, with their usual defaults.
"""

import math
from dataclasses import dataclass
from typing import Literal, Protocol, Self, TypeAlias, TypeVar

import numpy as np

from ml_exporter.stats.arrays import BoolArray, FloatArray, IntArray

Level: TypeAlias = Literal[0, 1, 2]

FEWEST_LABELS_TO_FALSE_ALARM = 1e5

_BET = 0.3
_HEADROOM = math.log(10)
_BLOCK = 4096


def ecusum_threshold(labels_a_year: FloatArray) -> FloatArray:
    """A of the e-CUSUM at paces (n,): a false alarm a year at most in the mean, and never below 1e5 labels apart.

    Rounded up to 1e5 times a power of two, so that it seldom changes with the pace.
    """
    times = np.maximum(labels_a_year / FEWEST_LABELS_TO_FALSE_ALARM, 1.0)
    return FEWEST_LABELS_TO_FALSE_ALARM * np.exp2(np.ceil(np.log2(times)))


@dataclass(frozen=True, slots=True)
class Ecusum:
    """The e-CUSUM of losses beyond what the scores predict: M = max(M, 1)(1 + 0.3 (e - c - tolerance)).

    While the mean loss stays at or below c + tolerance, whatever the order and dependence of rows, the
    mean number of rows to the first M >= A is at least A (Shin, Ramdas, Rinaldo 2024, "E-detectors: a
    nonparametric framework for sequential change detection", New England Journal of Statistics in Data
    Science 2, 229-260). `log_m` is the natural logarithm of M. `alarms` counts upward crossings of A, and
    a next one only after M was below sqrt(A) in between (`drifting` says that it was not yet): a small
    drift that makes M hover around A is one drift, not thousands.
    """

    log_m: float = 0.0
    level: Level = 0
    alarms: int = 0
    drifting: bool = False

    def update(
        self, losses: FloatArray, expected: FloatArray | float, threshold: float, tolerance: float = 0.02
    ) -> Self:
        """State after n more rows: `losses` (n,) and `expected` (n,) or one number, all within [0, 1].

        `threshold` is A (see `ecusum_threshold`): level 2 from M >= A, 1 from M >= sqrt(A).
        """
        if losses.size == 0:
            return self
        alarm = math.log(threshold)
        path = ecusum_path(self.log_m, losses, expected, threshold, tolerance)
        above, below = path >= alarm, path < alarm / 2
        drifting = np.append(self.drifting, above[above | below])
        begun = np.count_nonzero(drifting[1:] & ~drifting[:-1])
        level: Level = 2 if above[-1] else 0 if below[-1] else 1
        return type(self)(float(path[-1]), level, self.alarms + int(begun), bool(drifting[-1]))


def ecusum_path(
    log_m: float, losses: FloatArray, expected: FloatArray | float, threshold: float, tolerance: float = 0.02
) -> FloatArray:
    """Logarithm of M after each of n rows, shape (n,); arguments as in `Ecusum.update`.

    M is held at 10 A or below. Without a cap a drift that lasts a month takes months to be forgotten
    after it was mended; below A a single good row would end the alarm; a factor of ten is what short
    runs of good rows within a drift of 20 points take off, and 130 to 400 good rows bring back. A cap
    only makes M smaller, so the bound on false alarms stays.
    """
    steps = np.log1p(_BET * (losses - expected - tolerance))
    cap = math.log(threshold) + _HEADROOM
    path = np.empty(steps.size)
    done, log_m = 0, min(log_m, cap)
    while done < steps.size:
        part = steps[done : done + _BLOCK]
        piece = _under_cap(log_m, part, cap) if log_m > cap / 2 else _over_floor(log_m, part, cap)
        path[done : done + piece.size] = piece
        done, log_m = done + piece.size, float(piece[-1])
    return path


def _over_floor(start: float, steps: FloatArray, cap: float) -> FloatArray:
    """Lindley's recursion L = max(L, 0) + step without a loop, up to the row that reaches the cap."""
    free = max(start, 0.0) + np.cumsum(steps)
    floored = free - np.minimum(np.minimum.accumulate(free), 0.0)
    path = np.concatenate(([max(start, 0.0)], floored[:-1])) + steps
    return np.minimum(_until(path, path >= cap), cap)


def _under_cap(start: float, steps: FloatArray, cap: float) -> FloatArray:
    """The same seen from above, L = min(L + step, cap), up to the row that reaches the floor."""
    free = start + np.cumsum(steps)
    path = free - np.maximum(np.maximum.accumulate(free) - cap, 0.0)
    return _until(path, path < 0.0)


def _until(values: FloatArray, ends: BoolArray) -> FloatArray:
    """Values up to and including the first one marked."""
    first = int(np.argmax(ends))
    return values[: first + 1] if ends[first] else values


class _Restarting(Protocol):
    def _advance(self, values: FloatArray) -> tuple[Self, int]: ...


_State = TypeVar("_State", bound=_Restarting)


def _through(state: _State, values: FloatArray) -> _State:
    """Feed all rows to a detector that may stop early to start anew."""
    done = 0
    while done < values.size:
        state, used = state._advance(values[done : done + _BLOCK])
        done += used
    return state


@dataclass(frozen=True, slots=True)
class PageHinkley:
    """The test of Page and Hinkley for a rising mean (Page 1954, Biometrika 41, 100-115).

    Equal to `river.drift.PageHinkley(mode="up")` with its defaults. `n` rows since it started anew,
    `total` their sum, `rise` the faded sum of how far rows lie above the running mean by more than
    0.005, `lowest` its minimum.
    """

    n: int = 0
    total: float = 0.0
    rise: float = 0.0
    lowest: float = 0.0
    alarms: int = 0

    _FIRST = 30
    _DELTA = 0.005
    _THRESHOLD = 50.0
    _FADING = 1 - 1e-4

    @property
    def level(self) -> Level:
        """2 from an alarm until it has rows enough to judge again; it knows no warning."""
        return 2 if self.alarms and self.n < self._FIRST else 0

    def update(self, values: FloatArray) -> Self:
        """State after the losses of n more rows, (n,)."""
        return _through(self, values)

    def _advance(self, values: FloatArray) -> tuple[Self, int]:
        n = self.n + np.arange(1, values.size + 1)
        total = self.total + np.cumsum(values)
        # The faded sum as a plain one: a block is short enough for 0.9999^-n to stay near 1.
        fading = self._FADING ** np.arange(1, values.size + 1)
        rise = fading * (self.rise + np.cumsum((values - total / n - self._DELTA) / fading))
        lowest = np.minimum(np.minimum.accumulate(rise), self.lowest)
        alarm = np.flatnonzero((n >= self._FIRST) & (rise - lowest > self._THRESHOLD))
        if alarm.size:
            return type(self)(alarms=self.alarms + 1), int(alarm[0]) + 1
        end = float(total[-1]), float(rise[-1]), float(lowest[-1])
        return type(self)(int(n[-1]), *end, self.alarms), values.size


@dataclass(frozen=True, slots=True)
class Ddm:
    """The drift detection method of Gama, Medas, Castillo and Rodrigues (SBIA 2004, 286-295).

    Equal to `river.drift.binary.DDM` with its defaults. `n` rows and `errors` since it started anew;
    `rate` and `deviation` are the error rate and its standard deviation where their sum was smallest,
    0 before row 31.
    """

    n: int = 0
    errors: float = 0.0
    rate: float = 0.0
    deviation: float = 0.0
    alarms: int = 0

    _WARM_UP = 30
    _WARNING = 2.0
    _DRIFT = 3.0

    @property
    def level(self) -> Level:
        """2 from an alarm until it has rows enough to judge again, 1 above two deviations."""
        if self.n <= self._WARM_UP:
            return 2 if self.alarms else 0
        rate = self.errors / self.n
        now = rate + math.sqrt(rate * (1 - rate) / self.n)
        return 1 if now > self.rate + self._WARNING * self.deviation else 0

    def update(self, values: FloatArray) -> Self:
        """State after n more rows, (n,): 1 for an error, 0 otherwise."""
        return _through(self, values)

    def _advance(self, values: FloatArray) -> tuple[Self, int]:
        n = self.n + np.arange(1, values.size + 1)
        errors = self.errors + np.cumsum(values)
        first = min(max(self._WARM_UP - self.n, 0), values.size)
        if first == values.size:
            return type(self)(int(n[-1]), float(errors[-1]), alarms=self.alarms), values.size
        rate = errors[first:] / n[first:]
        deviation = np.sqrt(rate * (1 - rate) / n[first:])
        least_rate, least_deviation = self._least(rate, deviation)
        alarm = np.flatnonzero(rate + deviation > least_rate + self._DRIFT * least_deviation)
        if alarm.size:
            return type(self)(alarms=self.alarms + 1), first + int(alarm[0]) + 1
        least = float(least_rate[-1]), float(least_deviation[-1])
        return type(self)(int(n[-1]), float(errors[-1]), *least, self.alarms), values.size

    def _least(self, rate: FloatArray, deviation: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Rate and deviation at the smallest sum up to each row; among equal ones the last counts."""
        if self.n > self._WARM_UP:
            known = np.append(self.rate, rate), np.append(self.deviation, deviation)
        else:
            known = rate, deviation
        sums = known[0] + known[1]
        places = np.where(sums <= np.minimum.accumulate(sums), np.arange(sums.size), 0)
        best = np.maximum.accumulate(places)[-rate.size :]
        return known[0][best], known[1][best]


@dataclass(frozen=True, slots=True)
class Adwin:
    """ADWIN of Bifet and Gavalda (SIAM International Conference on Data Mining 2007, 443-448).

    Equal to `river.drift.ADWIN` with its defaults: every 32nd row the window since the last alarm is cut
    at each bucket's edge, and the means of both parts are compared. `deviations` is the sum of squared
    deviations from the mean of the `n` rows, `totals` the sums of the buckets, oldest first.
    """

    n: int = 0
    deviations: float = 0.0
    totals: tuple[float, ...] = ()
    alarms: int = 0

    _CLOCK = 32
    _DELTA = 0.002
    _SHORTEST = 5

    @property
    def level(self) -> Level:
        """2 from an alarm until the next time it judges; it knows no warning."""
        return 2 if self.alarms and self.n < self._CLOCK else 0

    def update(self, values: FloatArray) -> Self:
        """State after the losses of n more rows, (n,)."""
        return _through(self, values)

    def _advance(self, values: FloatArray) -> tuple[Self, int]:
        n = self.n + np.arange(1, values.size + 1)
        edges = np.concatenate(([0.0], np.cumsum(bucket_sizes(self.n)), n))
        parts = np.concatenate((self.totals, values))
        sums = np.concatenate(([0.0], np.cumsum(parts)))
        deviations = self._deviations(values, n)
        for row in np.flatnonzero(n % self._CLOCK == 0).tolist():
            older = np.cumsum(bucket_sizes(int(n[row])))
            if self._changed(older, sums[np.searchsorted(edges, older)], float(deviations[row])):
                return type(self)(alarms=self.alarms + 1), row + 1
        sizes = bucket_sizes(int(n[-1]))
        totals = np.add.reduceat(parts, np.searchsorted(edges, np.cumsum(sizes) - sizes))
        return type(self)(int(n[-1]), float(deviations[-1]), tuple(totals.tolist()), self.alarms), values.size

    def _deviations(self, values: FloatArray, n: IntArray) -> FloatArray:
        """Sum of squared deviations from the window's mean after each row."""
        centre = sum(self.totals) / self.n if self.n else values[0]
        moved = np.cumsum(values - centre)
        return np.asarray(self.deviations + np.cumsum(np.square(values - centre)) - np.square(moved) / n)

    def _changed(self, older: FloatArray, totals: FloatArray, deviations: float) -> bool:
        """Whether the means before and after any cut differ by more than chance would let them.

        `older` are the rows before each cut and `totals` their sums, oldest cut first; the last is the window.
        """
        n, total = older[-1], totals[-1]
        long_enough = (older >= self._SHORTEST) & (n - older >= self._SHORTEST)
        older, totals = older[long_enough], totals[long_enough]
        share = 1 / (older - self._SHORTEST + 1) + 1 / (n - older - self._SHORTEST + 1)
        log = math.log(2 * math.log(n) / self._DELTA)
        limit = np.sqrt(2 * share * max(deviations, 0.0) / n * log) + 2 / 3 * log * share
        return bool(np.any(np.abs(totals / older - (total - totals) / (n - older)) > limit))


def bucket_sizes(n: int) -> FloatArray:
    """Rows in each bucket of an exponential histogram of n rows, oldest first.

    At most five buckets of each power of two: a sixth merges the two oldest into one of twice the size,
    so four or five are left once there was a sixth, and the sizes follow from n alone.
    """
    counts: list[int] = []
    while n > 5:
        counts.append(4 + n % 2)
        n = (n - counts[-1]) // 2
    counts.append(n)
    return np.repeat(np.exp2(np.arange(len(counts))), counts)[::-1]
