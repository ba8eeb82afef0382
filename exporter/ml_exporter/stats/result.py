"""What every statistic returns: a number with its bounds, or the reason why there is none."""

from dataclasses import dataclass
from typing import Literal, TypeAlias

Reason: TypeAlias = Literal[
    "too_few_rows",
    "single_class",
    "no_labels",
    "low_coverage",
    "immature",
    "no_profile",
    "short_reference",
    "error",
]


@dataclass(frozen=True, slots=True)
class Value:
    """A statistic that could be computed.

    `lower` and `upper` are its bounds in the unit of `value`, None where the statistic has none;
    `n` is the number of rows that the value is made from (the denominator of a ratio).
    """

    value: float
    lower: float | None
    upper: float | None
    n: int


@dataclass(frozen=True, slots=True)
class Unavailable:
    """A statistic that could not be computed, and why."""

    reason: Reason


Result: TypeAlias = Value | Unavailable
