"""The grid keeps order, and codes are those that a search among the profile's edges gives."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from tests.support.rows import layout, numeric

from ml_exporter.layout import Cells, Layout, grid_codes, grid_value

FINITE = st.floats(allow_nan=False, allow_infinity=False)
NEAR = st.floats(-1e6, 1e6)


def array(values: list[float]) -> NDArray[np.float64]:
    return np.array(values, np.float64)


def single(values: list[float]) -> NDArray[np.float64]:
    """The values as the grid sees them: to the precision of a float32."""
    return array(values).astype(np.float32).astype(np.float64)


@given(st.lists(FINITE, min_size=2, max_size=50))
def test_codes_are_in_the_order_of_the_values(values: list[float]) -> None:
    codes = grid_codes(np.sort(array(values)), 0.0, 1.0).astype(np.int64)
    assert np.all(np.diff(codes) >= 0)
    assert np.all((codes >= 0) & (codes < 1 << 16))


@given(st.lists(NEAR, min_size=1, max_size=50), st.floats(-1e3, 1e3), st.floats(1e-3, 1e3))
def test_a_code_stands_for_the_smallest_value_that_has_it(
    values: list[float], center: float, scale: float
) -> None:
    codes = grid_codes(array(values), center, scale)
    smallest = grid_value(codes)
    np.testing.assert_array_equal(grid_codes(smallest, 0.0, 1.0), codes)
    scaled = ((array(values) - center) / scale).astype(np.float32)
    assert np.all(smallest <= scaled)
    assert np.all(np.abs(scaled - smallest) <= np.abs(scaled) / 128 + 1e-37)


def test_codes_at_the_ends_of_the_scale() -> None:
    values = array([-np.inf, -1e300, -3e38, -1.0, -1e-45, -0.0, 0.0, 1e-45, 1.0, 3e38, 1e300, np.inf])
    codes = grid_codes(values, 0.0, 1.0).astype(np.int64)
    steps = np.diff(codes)
    assert steps[5] == 0, "zero has one code, whatever its sign"
    assert steps[[0, 10]].tolist() == [0, 0], "what a float32 cannot hold is infinite"
    assert np.all(steps[[1, 2, 3, 4, 7, 8, 9]] > 0)


@given(
    st.lists(NEAR, max_size=40),
    st.lists(st.floats(-50, 50), min_size=1, max_size=12),
)
def test_codes_are_those_of_a_search_among_the_edges(values: list[float], edges: list[float]) -> None:
    cells = Cells("x", numeric(edges), 0)
    on_edges = [*values, *edges]
    codes = cells.numeric_codes(array(on_edges), None)
    expected = np.searchsorted(array(list(numeric(edges).edges)), single(on_edges), side="right")
    np.testing.assert_array_equal(codes, expected)


@pytest.mark.parametrize(("center", "scale"), [(1013.0, 8.0), (-3e5, 1e-3), (0.001, 1e4)])
def test_codes_are_counted_from_the_column_s_center(center: float, scale: float) -> None:
    column = numeric([center + scale * step for step in (-3.0, -1.0, 0.25, 1.0, 7.0)], center, scale)
    values = center + scale * np.random.default_rng(2).normal(size=2000) * 4
    scaled = ((values - center) / scale).astype(np.float32)
    codes = Cells("x", column, 0).numeric_codes(values, None)
    np.testing.assert_array_equal(codes, np.searchsorted(array(list(column.edges)), scaled, side="right"))
    assert set(codes.tolist()) == set(range(column.size))


@pytest.mark.parametrize("bins", [3, 253, 254, 255, 256, 1000])
def test_codes_of_columns_of_many_bins(bins: int) -> None:
    column = numeric(np.linspace(-5.0, 5.0, bins - 1).tolist())
    cells = Cells("x", column, 0)
    missing = np.array([False, False, True, False, False])
    codes = cells.numeric_codes(array([-9.0, 9.0, np.nan, np.nan, np.inf]), missing)
    assert codes.tolist() == [0, column.size - 1, cells.missing, cells.invalid, cells.invalid]


def test_missing_and_invalid_have_cells_of_their_own() -> None:
    cells = Cells("x", numeric([0.0]), 0)
    values = array([-1.0, 0.0, 1.0, np.nan, np.nan, np.inf, -np.inf, 1e300])
    missing = np.arange(8) == 3
    codes = cells.numeric_codes(values, missing)
    assert codes.tolist() == [0, 1, 1, cells.missing, cells.invalid, cells.invalid, cells.invalid, 1]
    assert (cells.missing, cells.invalid, cells.bins, cells.size) == (2, 3, 3, 4)


def test_columns_follow_each_other_in_the_flat_array() -> None:
    found = layout()
    assert list(found.cells) == ["x", "c", "score", "prediction"]
    assert found.positions == {"x": 0, "c": 1, "score": 2, "prediction": 3}
    assert found.size == sum(cells.size for cells in found.cells.values())
    flat = np.arange(2 * found.size).reshape(2, found.size)
    parts = [cells.of(flat) for cells in found.cells.values()]
    np.testing.assert_array_equal(np.concatenate(parts, axis=1), flat)
    assert [cells.name for cells in found.numeric()] == ["x", "score"]
    assert [cells.name for cells in found.categorical()] == ["c", "prediction"]


def test_categories_are_frequent_rare_unseen_or_missing() -> None:
    found = layout()
    codes = found.category_codes("c", ["moss", "blue", "rose", "teal"])
    #                    rare, first, unseen, second, then an unseen one and a missing one
    assert codes.tolist() == [2, 0, 3, 1, 3, 4]


def test_limits_come_from_the_reference_or_the_configuration() -> None:
    assert layout().limits["x"] == (-1.5, 2.5)
    assert layout({"x": (None, 7.0)}).limits["x"] == (-1.5, 7.0)
    assert layout({"x": (0.0, None)}).limits["x"] == (0.0, 2.5)


def test_without_a_profile_there_are_no_cells() -> None:
    empty = Layout(None)
    assert (empty.size, empty.cells, empty.limits, empty.numeric()) == (0, {}, {}, [])
