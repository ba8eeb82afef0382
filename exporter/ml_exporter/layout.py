"""Where each column's cells stand in a tally: the bins of a profile as offsets and look-up tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from ml_exporter.embeddings import embeddings_of
from ml_exporter.joint import coding_of
from ml_exporter.profile import CategoricalColumn, NumericColumn, Profile

_CODES = 1 << 16
_SIGN = np.uint32(_CODES >> 1)


def grid_codes(values: NDArray[np.float64], center: float, scale: float) -> NDArray[np.uint32]:
    """Order-preserving 16-bit codes of (value - center) / scale, shape as `values`.

    The top 16 bits of the float32 are kept, so codes are finest near the center (0.8 % of the
    distance to it). Values that a float32 cannot hold become infinite, which sorts last.
    """
    return _in_order(_top_bits(values, center, scale))


def _top_bits(values: NDArray[np.float64], center: float, scale: float) -> NDArray[np.uint32]:
    """Sign, exponent and 7 bits of the mantissa of (value - center) / scale."""
    with np.errstate(over="ignore", invalid="ignore"):
        scaled = ((values - center) / scale).astype(np.float32)
    scaled += np.float32(0.0)  # -0.0 becomes 0.0, which must share its code
    bits: NDArray[np.uint32] = scaled.view(np.uint32) >> np.uint32(16)
    return bits


def _in_order(bits: NDArray[np.uint32]) -> NDArray[np.uint32]:
    return np.where(bits & _SIGN, _CODES - 1 - bits, bits | _SIGN).astype(np.uint32)


def grid_value(codes: NDArray[np.uint32]) -> NDArray[np.float64]:
    """The smallest scaled value with each code, the inverse of `grid_codes` on the grid."""
    codes = codes.astype(np.uint32)
    negative = codes < _SIGN
    top = np.where(negative, _CODES - 1 - codes, codes - _SIGN).astype(np.uint32)
    # Of the negative numbers with the same top bits, the smallest has all others set.
    bits = top << np.uint32(16) | np.where(negative, np.uint32(_CODES - 1), np.uint32(0))
    return bits.view(np.float32).astype(np.float64)


@dataclass(frozen=True)
class Cells:
    """The cells of one column: its bins, `missing`, and `invalid` (wrong type, not finite).

    `offset` is where they start in the flat array of bins.
    """

    name: str
    column: NumericColumn | CategoricalColumn
    offset: int

    @property
    def bins(self) -> int:
        """Cells with a place in the distribution: all but `invalid`."""
        return self.column.size + 1

    @property
    def size(self) -> int:
        """All cells."""
        return self.column.size + 2

    @property
    def missing(self) -> int:
        """The code of a missing value."""
        return self.column.size

    @property
    def invalid(self) -> int:
        """The code of a value that has no place in the distribution."""
        return self.column.size + 1

    def of(self, flat: NDArray[np.int64]) -> NDArray[np.int64]:
        """This column's cells in a flat array (or in the last axis of a stack of them)."""
        return flat[..., self.offset : self.offset + self.size]

    @cached_property
    def _table(self) -> NDArray[np.unsignedinteger]:
        """The bin of a number by its top bits, in the smallest type: a small table is a fast one."""
        assert isinstance(self.column, NumericColumn)
        starts = grid_codes(np.asarray(self.column.edges, np.float64), 0.0, 1.0)
        codes = _in_order(np.arange(_CODES, dtype=np.uint32))
        return np.searchsorted(starts, codes, side="right").astype(np.min_scalar_type(self.column.size))

    def numeric_codes(
        self, values: NDArray[np.float64], missing: NDArray[np.bool_] | None
    ) -> NDArray[np.int64]:
        """Bin codes of n numbers; NaN and infinities that are not `missing` are invalid."""
        column = self.column
        assert isinstance(column, NumericColumn)
        codes = self._table[_top_bits(values, column.center, column.scale)].astype(np.int64)
        finite = np.isfinite(values)
        if not finite.all():
            codes[~finite] = self.invalid
        if missing is not None:
            codes[missing] = self.missing
        return codes


@dataclass(frozen=True)
class Constraint:
    """What the values of a column have to be: in a range, of a list, of a pattern, there at all.

    Without a range the reference's own holds.
    """

    minimum: float | None = None
    maximum: float | None = None
    allowed: tuple[str, ...] = ()
    pattern: str | None = None
    not_null: bool = False


class Layout:
    """The cells of every column of a profile, in the profile's order, and what its values have to be.

    `limits` has the range of each numeric column; `estimated` is the number of bins of answers, and of
    classes in each, that quality without labels is made from; `coding` is how columns are watched
    together, None where the profile does not know.
    """

    def __init__(self, profile: Profile | None, constraints: Mapping[str, Constraint] = {}) -> None:
        self.profile = profile
        self.constraints = constraints
        self.cells: dict[str, Cells] = {}
        offset = 0
        for name, column in profile.columns.items() if profile else ():
            self.cells[name] = Cells(name, column, offset)
            offset += self.cells[name].size
        self.size = offset
        learned = profile.estimation if profile else None
        self.estimation = Cells("", learned.column, 0) if learned else None
        self.estimated = (learned.column.size, learned.classes) if learned else (0, 0)
        self.coding = coding_of(profile) if profile else None
        self.embeddings = embeddings_of(profile)
        self.positions = {name: index for index, name in enumerate(self.cells)}
        self.limits = {cells.name: _limits(cells, self.constraint(cells.name)) for cells in self.numeric()}

    def constraint(self, name: str) -> Constraint:
        """What the values of a column have to be."""
        return self.constraints.get(name, _NONE)

    def allowed_numbers(self, name: str) -> NDArray[np.float64] | None:
        """The numbers that a numeric column may have, None where it may have any."""
        allowed, column = self.constraint(name).allowed, self.cells[name].column
        if not allowed or not isinstance(column, NumericColumn) or column.source != "number":
            return None
        return np.asarray([number for text in allowed if (number := _number(text)) is not None])

    @cached_property
    def missing(self) -> NDArray[np.int64]:
        """Where each column's missing values are in the flat array of cells."""
        return np.asarray([cells.offset + cells.missing for cells in self.cells.values()], np.int64)

    def category_codes(self, name: str, values: Sequence[str]) -> NDArray[np.int64]:
        """Cell of each of a list of values, then of an unseen one, then of a missing one."""
        cells = self.cells[name]
        column = cells.column
        assert isinstance(column, CategoricalColumn)
        known = {value: code for code, value in enumerate(column.categories)}
        known |= dict.fromkeys(column.rare, column.rare_code)
        codes = [known.get(value, column.unseen_code) for value in values]
        return np.asarray([*codes, column.unseen_code, cells.missing], np.int64)

    def numeric(self) -> Sequence[Cells]:
        """The numeric columns."""
        return [cells for cells in self.cells.values() if isinstance(cells.column, NumericColumn)]

    def categorical(self) -> Sequence[Cells]:
        """The categorical columns."""
        return [cells for cells in self.cells.values() if isinstance(cells.column, CategoricalColumn)]


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _limits(cells: Cells, own: Constraint) -> tuple[float, float]:
    column = cells.column
    assert isinstance(column, NumericColumn)
    return (
        column.minimum if own.minimum is None else own.minimum,
        column.maximum if own.maximum is None else own.maximum,
    )


_NONE = Constraint()
