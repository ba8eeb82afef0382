"""95 % bounds of statistics without a formula of their own: leave a part out, and look what it changes."""

import math

import numpy as np

from ml_exporter.stats import intervals
from ml_exporter.stats.arrays import FloatArray, IntArray
from ml_exporter.stats.intervals import Interval

FEWEST_BLOCKS = 6

_ROUNDING = 1e-14  # the statistic without one part or another differs by less: by nothing at all


def block_bounds(value: float, left_out: FloatArray) -> Interval | None:
    """Bounds of a statistic in (0, 1) by the jackknife over blocks of time, on the logit.

    `left_out`, of shape (b,), has the statistic without each of the b blocks that have rows. Blocks
    are taken as independent, rows within a block need not be, so the design effect is in it already;
    Student's t has b - 1 degrees of freedom (Tukey 1958; for few and unequal clusters MacKinnon,
    Nielsen, Webb 2023, Journal of Applied Econometrics 38, 671-694). None from fewer than
    `FEWEST_BLOCKS` blocks, at 0 or 1, and where no block changes anything.
    """
    blocks = left_out.size
    if blocks < FEWEST_BLOCKS or not 0.0 < value < 1.0 or np.ptp(left_out) < _ROUNDING:
        return None
    variance = (blocks - 1) * float(left_out.var())
    return intervals.on_logit(value, math.sqrt(variance) / (value * (1 - value)), blocks - 1)


def row_bounds(
    value: float, left_out: FloatArray, rows: IntArray, design_effect: float, smallest: float
) -> Interval:
    """Bounds of a statistic in (0, 1) by the jackknife over rows, on the logit.

    `left_out` has the statistic without one row of each kind, `rows` how many rows of that kind
    there are, both of shape (m,). The variance is multiplied by the design effect; `smallest`
    effective rows give the degrees of freedom. At 0 and 1, and where no row changes anything, the
    bounds are those of a proportion of `smallest`.
    """
    if not 0.0 < value < 1.0 or np.ptp(left_out) < _ROUNDING:
        return intervals.proportion(value * smallest, smallest)
    total = rows.sum()
    centre = rows @ left_out / total
    variance = design_effect * (total - 1) / total * float(rows @ (left_out - centre) ** 2)
    return intervals.on_logit(value, math.sqrt(variance) / (value * (1 - value)), smallest - 1)


def wider(first: Interval, second: Interval) -> Interval:
    """The least interval that holds both."""
    return min(first[0], second[0]), max(first[1], second[1])
