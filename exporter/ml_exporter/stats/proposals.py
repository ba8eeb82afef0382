"""Draws of counts without drift that lie where rare distances do, with their weights.

A one in ten thousand quantile would take millions of plain draws, so draws are made where it lies and
weighted back (importance sampling): from counts that scatter more than they should, or from mixtures
of counts that exponential tilting has moved in the directions which a distance looks at.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Literal, TypeAlias

import numpy as np
from scipy.special import gammaln

from ml_exporter.stats.arrays import FloatArray, IntArray

Draws: TypeAlias = tuple[IntArray, IntArray, FloatArray]
"""Counts of the smaller and of the larger side, shape (draws, B) or (1, B), and weights, shape (draws,)."""
Alternative: TypeAlias = Literal["scatter", "shift", "steps", "spikes"]
"""What drift the draws resemble: any, one of the mean, of the distribution function, of single bins."""

# How much more than multinomial counts the proposals scatter, times the root of the degrees of
# freedom: near the least error at one in ten thousand. More would leave a few draws all the weight.
# Where one side is twenty times as large it adds next to no noise, and only the other is dispersed.
_DISPERSION_OF_BOTH = 3.2
_DISPERSION_OF_ONE = 6.3
_DRAWS_OF_BOTH = 1_500
_DRAWS_OF_ONE = 1_500
_DRAWS_TILTED = 500
_SHIFTS = np.arange(-5.0, 6.0)  # of the mean, in its standard errors
_SHIFT_SPREAD = 2.5
_DEVIATIONS = (2.7, 4.2)  # of one share, in its standard errors
_DRAWS_A_DIRECTION = 5
_FIXED = 1_000_000
"""How many times as large a side is that stands for all large ones and adds no noise of its own."""
_RARE_ROWS = 2.0
"""Rows by which rare bins, all together, are drawn more often: what is as rare as the quantile has to be seen."""


def draw(
    alternative: Alternative,
    shares: FloatArray,
    positions: FloatArray,
    n: int,
    ratios: Sequence[int],
    rng: np.random.Generator,
) -> Iterator[Draws]:
    """Draw counts of n rows and of `ratios` times as many, 1 first.

    `shares`, shape (B,), are above 0 and add up to 1; `positions`, shape (B,), are where the bins lie.
    The largest sides, and all large ones of tilted counts, are the expected counts: their noise adds to
    that of the smaller side without changing its form, as long as there is little of it.
    """
    if alternative == "scatter" or shares.size < 2:
        yield from _scattered(shares, n, ratios, rng)
        return
    directions, chances = _DIRECTIONS[alternative](shares, positions)
    draws = np.maximum(np.rint(chances * _DRAWS_TILTED), 1 if alternative == "shift" else _DRAWS_A_DIRECTION)
    draws = draws.astype(np.int64)
    yield _tilted(shares, n, (directions / np.sqrt(2 * n), -directions / np.sqrt(2 * n)), draws, rng)
    current, _, weights = _tilted(shares, n, (directions / np.sqrt(n),), draws, rng)
    for _ in ratios[1:]:
        yield current, _fixed(shares, n), weights


def _scattered(
    shares: FloatArray, n: int, ratios: Sequence[int], rng: np.random.Generator
) -> Iterator[Draws]:
    current, first = _dispersed(shares, n, _DISPERSION_OF_BOTH, _DRAWS_OF_BOTH, rng)
    reference, second = _dispersed(shares, n, _DISPERSION_OF_BOTH, _DRAWS_OF_BOTH, rng)
    yield current, reference, np.exp(first + second)
    current, first = _dispersed(shares, n, _DISPERSION_OF_ONE, _DRAWS_OF_ONE, rng)
    for ratio in ratios[1:-1]:
        yield current, rng.multinomial(n * ratio, shares, _DRAWS_OF_ONE), np.exp(first)
    yield current, _fixed(shares, n), np.exp(first)


def _fixed(shares: FloatArray, n: int) -> IntArray:
    return np.rint(n * _FIXED * shares).astype(np.int64)[None]


def _dispersed(
    shares: FloatArray, n: int, dispersion: float, draws: int, rng: np.random.Generator
) -> tuple[IntArray, FloatArray]:
    """Dirichlet-multinomial counts, shape (draws, B), and their log weights against multinomial ones."""
    excess = min(dispersion / max(shares.size - 1, 1) ** 0.5, 3.0)
    concentration = (n - 1 - excess) / excess
    likely = np.maximum(shares, _RARE_ROWS / (n * shares.size))
    alpha = concentration * likely / likely.sum()
    drawn = rng.standard_gamma(alpha, (draws, shares.size))
    counts = rng.multinomial(n, drawn / drawn.sum(axis=1, keepdims=True))
    proposed = gammaln(concentration) - gammaln(n + concentration)
    proposed = proposed + np.sum(gammaln(counts + alpha) - gammaln(alpha), axis=1)
    return counts, np.asarray(counts @ np.log(shares) - proposed)


def _shift(shares: FloatArray, positions: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Directions of the mean, shape (directions, B), and the chance of each."""
    chances = np.exp(-np.square(_SHIFTS / _SHIFT_SPREAD) / 2)
    return _SHIFTS[:, None] * _standard(shares, positions), chances / chances.sum()


def _steps(shares: FloatArray, _: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Directions of the distribution function at the bins' ends, most of them where it varies most."""
    below = np.tri(shares.size)[:-1]
    return _both_ways(shares, below)


def _spikes(shares: FloatArray, _: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Directions of single bins, most of them of those that vary most."""
    return _both_ways(shares, np.eye(shares.size))


def _both_ways(shares: FloatArray, members: FloatArray) -> tuple[FloatArray, FloatArray]:
    """More and less of each set of bins, shape (sets, B), as far as a set reaches the widest one's deviations."""
    inside = members @ shares
    deviation = np.sqrt(inside * (1 - inside))
    kept = deviation > 0.6 * deviation.max()
    farther = deviation.max() / deviation[kept]
    # A set that varies less has to deviate by more of its standard errors, which is rarer.
    chances = np.exp(-(_DEVIATIONS[0] ** 2) / 2 * (np.square(farther) - 1))
    standard = np.stack([_standard(shares, row) for row in members[kept]])
    sizes = [sign * size for size in _DEVIATIONS for sign in (1, -1)]
    directions = np.concatenate([size * farther[:, None] * standard for size in sizes])
    chances = np.tile(chances, len(sizes))
    still = np.zeros((1, shares.size))
    return np.concatenate([still, directions]), np.append(0.15, 0.85 * chances / chances.sum())


def _standard(shares: FloatArray, values: FloatArray) -> FloatArray:
    """Values of the bins, centred and divided by their standard deviation."""
    centred = values - shares @ values
    return np.asarray(centred / (np.sqrt(shares @ np.square(centred)) or 1.0))


_DIRECTIONS: Mapping[str, Callable[[FloatArray, FloatArray], tuple[FloatArray, FloatArray]]] = (
    MappingProxyType({"shift": _shift, "steps": _steps, "spikes": _spikes})
)


def _tilted(
    shares: FloatArray, n: int, sides: Sequence[FloatArray], draws: IntArray, rng: np.random.Generator
) -> Draws:
    """One or two sides of n rows, each direction drawn so often; of one side, it stands for both."""
    found, densities = [], np.zeros((int(draws.sum()), draws.size))
    for directions in sides:
        exponents = np.log(shares) + directions
        norms = np.logaddexp.reduce(exponents, axis=1)
        counts = rng.multinomial(n, np.repeat(np.exp(exponents - norms[:, None]), draws, axis=0))
        densities += counts @ directions.T - n * norms
        found.append(counts)
    mixture = np.logaddexp.reduce(densities + np.log(draws / draws.sum()), axis=1)
    return found[0], found[-1], np.exp(-mixture)
