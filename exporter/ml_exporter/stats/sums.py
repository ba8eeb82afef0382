"""Additive sums of a quantity that each row has: what a mean and its bounds need."""

from dataclasses import dataclass
from typing import Self

import numpy as np

from ml_exporter.stats.arrays import FloatArray


@dataclass(frozen=True, slots=True)
class RowSums:
    """Number of rows, sum of the values and sum of their squares; merges with `+`."""

    n: int = 0
    total: float = 0.0
    squares: float = 0.0

    @classmethod
    def of(cls, values: FloatArray) -> Self:
        """Sums of a 1-d array of finite values."""
        return cls(values.size, float(np.sum(values)), float(np.dot(values, values)))

    def __add__(self, other: Self) -> Self:
        return type(self)(self.n + other.n, self.total + other.total, self.squares + other.squares)

    @property
    def mean(self) -> float:
        """Mean of the values; raises ZeroDivisionError without rows."""
        return self.total / self.n

    @property
    def variance(self) -> float:
        """Unbiased variance of the values, 0 below two rows."""
        if self.n < 2:
            return 0.0
        return max(self.squares - self.total * self.total / self.n, 0.0) / (self.n - 1)
