"""Bounds that hold at every look: for a difference that is watched while rows come in."""

import math

from ml_exporter.stats.result import Result, Unavailable, Value
from ml_exporter.stats.sums import RowSums

MINIMUM_ROWS = 200


def mean_difference(sums: RowSums, alpha: float = 0.05, tightest_at: int = 10_000) -> Result:
    """Mean of paired differences with bounds that all hold at once, at all looks, with 1 - `alpha`.

    The asymptotic confidence sequence of Waudby-Smith, Arbour, Sinha, Kennedy and Ramdas
    ("Time-uniform central limit theory and asymptotic confidence sequences", Annals of Statistics
    2024, theorem 2.2). `sums` are those of the differences since the first pair, in the unit of the
    loss; the bounds are narrowest near `tightest_at` rows. Fewer than `MINIMUM_ROWS` are too few.
    """
    if sums.n < MINIMUM_ROWS:
        return Unavailable("too_few_rows")
    variance = max(sums.squares / sums.n - sums.mean**2, 0.0)
    half = math.sqrt(variance) * boundary(sums.n, alpha, tightest_at)
    return Value(sums.mean, sums.mean - half, sums.mean + half, sums.n)


def boundary(n: float, alpha: float, tightest_at: float) -> float:
    """Half width of the confidence sequence after n rows, in standard deviations of a row."""
    spread = n * _tuning(alpha, tightest_at)
    return math.sqrt(2 * (spread + 1) / (n * spread) * math.log(math.sqrt(spread + 1) / alpha))


def _tuning(alpha: float, tightest_at: float) -> float:
    """The authors' approximation of the squared rho that makes the bounds narrowest at these rows."""
    log = -2 * math.log(alpha)
    return (log + math.log(log) + 1) / tightest_at
