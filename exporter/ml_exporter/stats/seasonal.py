"""The last complete hour against the same hour of the week in the weeks before, in standard errors."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ml_exporter.stats.arrays import FloatArray, IntArray
from ml_exporter.stats.intervals import MINIMUM
from ml_exporter.stats.result import Result, Unavailable, Value

HOURS_A_WEEK = 168
DAYS = 7
MINIMUM_WEEKS = 3

_ODD_FROM = 4
_ODD = 4.0
_LEFT_BY_CHANCE = 0.6
_ODD_HOUR = 4.0


def seasonal_deviation(hours: IntArray, rows: IntArray, now: int, hits: IntArray | None = None) -> Result:
    """How far the hour `now` is above (or, negative, below) its like, in standard errors.

    Of the volume, or, with `hits`, of their rate. `hours` (h,) are absolute UTC hours (epoch seconds //
    3600), rising, with the `rows` of each and among them the `hits` (positives or errors); hours without
    rows may be left out. The first one tells where the history begins. `now` is the last complete hour; for
    rates that need labels the last one that is mature. All whole weeks before it are compared.
    `short_reference` below three weeks; for rates `too_few_rows` below ten rows now or in this hour of
    the weeks before. No bounds; n is the number of rows of the hour.

    Counts are taken as Poisson and hits as binomial, with a dispersion pooled over all hours of the week:
    a multiple of that variance, or a share of the squared mean added to it, whichever is larger now
    (McCullagh, Nelder 1989, sections 4.5 and 6.2). It is that of the median day, an hour of the past four
    standard errors from its like does not count, nor, from the fourth week on, does a week unlike all
    others: an outage or a holiday neither raises alarms in the weeks after it nor makes deaf. Where the
    rhythm follows local time, the change to or from daylight saving time shows for some weeks.
    """
    weeks = (now - int(hours[0])) // HOURS_A_WEEK if hours.size else 0
    if weeks < MINIMUM_WEEKS:
        return Unavailable("short_reference")
    kind = _VOLUME if hits is None else _RATE
    counts = _by_week(hours, np.stack((rows, rows if hits is None else hits)), now, weeks)
    past, current = counts[:, :-1].reshape(2, weeks, HOURS_A_WEEK), counts[:, -1]
    past, dispersion = _pooled(past, kind.cells)
    like = _without_odd_hour(past[:, :, 0], dispersion, kind)
    if hits is not None and min(current[0], like[0].sum()) < MINIMUM:
        return Unavailable("too_few_rows")
    return Value(kind.apart(current, like, dispersion), None, None, int(current[0]))


def _by_week(hours: IntArray, counts: IntArray, now: int, weeks: int) -> FloatArray:
    """Counts (2, 168 weeks + 1) of the hours up to `now`, 0 where there were none."""
    places = hours - (now - weeks * HOURS_A_WEEK)
    inside = (places >= 0) & (hours <= now)
    filled = np.zeros((counts.shape[0], weeks * HOURS_A_WEEK + 1))
    filled[:, places[inside]] = counts[:, inside]
    return filled


@dataclass(frozen=True, slots=True)
class _Dispersion:
    """Variance as a multiple of that of independent rows, or with a share of a square added to it."""

    multiple: float
    share: float

    def variance(self, plain: float, square: float) -> float:
        return max(self.multiple * plain, plain + self.share * square)


@dataclass(frozen=True, slots=True)
class _Cells:
    """Hours of the past that can be compared, (weeks, 168): squared deviations from their like.

    `plain` is what they would be in the mean with independent rows, 0 in hours that tell nothing; `square`
    what a relative variation between weeks would add to it, in its unit.
    """

    deviations: FloatArray
    plain: FloatArray
    square: FloatArray

    def multiples(self) -> FloatArray:
        """Mean of deviations over `plain` in each week, shape (weeks,)."""
        told = self.plain > 0
        ratios = np.divide(self.deviations, self.plain, out=np.zeros_like(self.plain), where=told)
        return np.asarray(ratios.sum(axis=1) / np.maximum(told.sum(axis=1), 1))

    def dispersion(self, left: float) -> _Dispersion:
        """Dispersion of the median day, `left` being the part of it that is left in these weeks."""
        told = self.plain > 0
        ratios = np.divide(self.deviations, self.plain, out=np.zeros_like(self.plain), where=told)
        over = np.where(told, self.deviations - self.plain, 0.0)
        square = np.where(told, self.square, 0.0)
        multiple = _median_ratio(_by_day(ratios), _by_day(told.astype(np.float64)))
        share = _median_ratio(_by_day(over), _by_day(square))
        return _Dispersion(max(multiple / left, 1.0), max(share / left, 0.0))


def _by_day(values: FloatArray) -> FloatArray:
    """Sums (7,) of all weeks over each 24 hours."""
    return np.asarray(values.reshape(-1, DAYS, HOURS_A_WEEK // DAYS).sum(axis=(0, 2)))


def _median_ratio(above: FloatArray, below: FloatArray) -> float:
    told = below > 0
    return float(np.median(above[told] / below[told])) if told.any() else 0.0


def _pooled(past: FloatArray, cells: Callable[[FloatArray], _Cells]) -> tuple[FloatArray, _Dispersion]:
    """The weeks to compare with and their dispersion, without a week that is unlike the others.

    Where weeks differ as wholes it may be left out by chance, and the others then look too much alike:
    what that takes from the dispersion is made up for whenever a week is left out.
    """
    every = cells(past)
    if past.shape[1] >= _ODD_FROM:
        multiples = every.multiples()
        odd = int(np.argmax(multiples))
        if multiples[odd] > _ODD * np.delete(multiples, odd).mean():
            kept = np.delete(past, odd, axis=1)
            return kept, cells(kept).dispersion(_LEFT_BY_CHANCE)
    return past, every.dispersion(1.0)


def _volume_cells(past: FloatArray) -> _Cells:
    mean = past[0].mean(axis=0)
    free = np.full(past[0].shape, 1 - 1 / past.shape[1])
    return _Cells(np.square(past[0] - mean), mean * free, np.square(mean) * free)


def _rate_cells(past: FloatArray) -> _Cells:
    rows, hits = past
    total = np.maximum(rows.sum(axis=0), 1)
    rate = hits.sum(axis=0) / total
    some = np.maximum(rows, 1)
    told = (rows > 0) & (rows < total)
    bernoulli = np.where(told, rate * (1 - rate), 0.0)
    deviations = np.where(told, np.square(hits / some - rate), 0.0)
    return _Cells(deviations, bernoulli * (1 / some - 1 / total), bernoulli * (1 - rows / total))


def _volume_apart(now: FloatArray, like: FloatArray, dispersion: _Dispersion) -> float:
    expected, weeks = float(like[0].mean()), like.shape[1]
    # One row more, so that a first row in an hour that never had one is no wonder.
    variance = dispersion.variance(expected + 1, expected**2) * (1 + 1 / weeks)
    return (float(now[0]) - expected) / math.sqrt(variance)


def _rate_apart(now: FloatArray, like: FloatArray, dispersion: _Dispersion) -> float:
    (rows_now, hits_now), (rows, hits) = now.tolist(), like.sum(axis=1).tolist()
    if min(rows_now, rows) == 0:
        return 0.0
    # The rate of both, as if nothing changed: few hits in the past alone would make one more a wonder.
    common = (hits_now + hits + 0.5) / (rows_now + rows + 1)
    bernoulli = common * (1 - common)
    plain, square = bernoulli * (1 / rows_now + 1 / rows), bernoulli * (1 + 1 / like.shape[1])
    return float((hits_now / rows_now - hits / rows) / math.sqrt(dispersion.variance(plain, square)))


def _volume_far(like: FloatArray) -> FloatArray:
    return np.asarray(np.abs(like[0] - np.median(like[0])))


def _rate_far(like: FloatArray) -> FloatArray:
    rows, hits = like
    rates = hits / np.maximum(rows, 1)
    median = np.median(rates[rows > 0]) if rows.any() else 0.0
    return np.asarray(np.abs(rates - median) * np.sqrt(rows))


def _without_odd_hour(like: FloatArray, dispersion: _Dispersion, kind: _Kind) -> FloatArray:
    """This hour in the past, (2, weeks), without the one farthest from the median if it is far off.

    Standard errors alone would not tell which one it is: an hour without rows is as far from the mean of
    two usual ones as a usual one is from the mean of one without rows and one usual one.
    """
    odd = int(np.argmax(kind.far(like)))
    others = np.delete(like, odd, axis=1)
    return others if abs(kind.apart(like[:, odd], others, dispersion)) > _ODD_HOUR else like


@dataclass(frozen=True, slots=True)
class _Kind:
    """What differs between volume and rates.

    `cells` of the rows and hits of the past (2, weeks, 168); `apart`: standard errors between rows and hits
    of an hour (2,) and of its like (2, weeks); `far`: distances of the latter from their median (weeks,).
    """

    cells: Callable[[FloatArray], _Cells]
    apart: Callable[[FloatArray, FloatArray, _Dispersion], float]
    far: Callable[[FloatArray], FloatArray]


_VOLUME = _Kind(_volume_cells, _volume_apart, _volume_far)
_RATE = _Kind(_rate_cells, _rate_apart, _rate_far)
