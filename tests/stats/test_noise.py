import json
from dataclasses import dataclass
from functools import cache

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from ml_exporter.stats.distance import METHODS, Comparison, unmoved
from ml_exporter.stats.noise import FloorTable, simulate_floors

Floats = NDArray[np.float64]
ROWS = 1_000_000
GRID = np.append(np.linspace(0.1, 7.7, 30), 12.0)


@dataclass(frozen=True, eq=False)
class Column:
    method: str
    shares: Floats
    positions: Floats | None = None

    @property
    def scale(self) -> float:
        if self.positions is None:
            return 1.0
        mean = self.shares @ self.positions
        return float(np.sqrt(self.shares @ np.square(self.positions - mean)))

    @property
    def reference(self) -> NDArray[np.int64]:
        return np.round(self.shares * ROWS).astype(np.int64)

    def simulate(self, quantile: float, seed: int) -> FloorTable:
        rng = np.random.default_rng(seed)
        methods, where = [METHODS[self.method]], (self.positions, self.scale)
        return simulate_floors(methods, self.reference, rng, *where, quantile)[self.method]

    def floor(self, table: FloorTable, n: float, m: float) -> float:
        return table.at(n, m, float(unmoved(METHODS[self.method], self.reference, n, m)))

    def exceeding(self, table: FloorTable, n: int, m: int, runs: int, seed: int = 2) -> float:
        """Share of plain draws without drift that lie above the floor."""
        rng = np.random.default_rng(seed)
        method, limit, above = METHODS[self.method], self.floor(table, n, m), 0
        for _ in range(0, runs, 20_000):
            current, reference = (rng.multinomial(rows, self.shares, 20_000) for rows in (n, m))
            values = method.function(Comparison(current, reference, self.positions, self.scale))
            above += int(np.count_nonzero(values > limit))
        return above / runs


@cache
def floor_of(column: Column, quantile: float) -> FloorTable:
    return column.simulate(quantile, seed=1)


def normalised(weights: Floats) -> Floats:
    return np.asarray(weights / weights.sum())


DECILES = normalised(np.array([10.0] * 10 + [0.2]))  # ten quantile bins and a few missing values
CATEGORIES = np.array([0.3, 0.25, 0.2, 0.1, 0.05, 0.04, 0.03, 0.02, 0.01, 0.0])
GAMMA = normalised(stats.gamma(2).pdf(GRID))
ATOM = np.array([0.7, *[0.01] * 30])
HEAVY = normalised(1 / np.arange(1.0, 32.0) ** 1.5)
COLUMNS = {
    "ks-gamma": Column("ks", GAMMA, GRID),
    "ks-heavy": Column("ks", HEAVY, GRID),
    "jensen_shannon-categories": Column("jensen_shannon", CATEGORIES),
    "hellinger-deciles": Column("hellinger", DECILES),
    "l_infinity-categories": Column("l_infinity", CATEGORIES),
    "mean_shift-atom": Column("mean_shift", ATOM, GRID),
    "psi-deciles": Column("psi", DECILES),
    "psi-categories": Column("psi", CATEGORIES),
    "psi-two-values": Column("psi", np.array([0.8, 0.2, 0.0])),
    "psi-many-values": Column("psi", normalised(np.linspace(1.0, 3.0, 50))),
    "cramers_v-categories": Column("cramers_v", CATEGORIES),
    "wasserstein-gamma": Column("wasserstein", GAMMA, GRID),
    "wasserstein-atom": Column("wasserstein", ATOM, GRID),
    "wasserstein-heavy": Column("wasserstein", HEAVY, GRID),
}
every_column = pytest.mark.parametrize("column", COLUMNS.values(), ids=list(COLUMNS))


@every_column
@pytest.mark.parametrize(("n", "m"), [(200, 200), (200, 100_000), (200_000, 1_000_000)])
def test_a_one_percent_floor_is_exceeded_in_one_percent(column: Column, n: int, m: int) -> None:
    assert 0.005 <= column.exceeding(floor_of(column, 0.01), n, m, 20_000) <= 0.015


SIZES = [(200, 200), (200, 4_000), (200, 100_000), (2_000, 2_000), (2_000, 300_000), (20_000, 100_000)]


@pytest.mark.long
@every_column
@pytest.mark.parametrize(("n", "m"), [*SIZES, (200_000, 200_000), (200_000, 1_000_000)])
def test_floors_are_exceeded_as_often_as_they_say(column: Column, n: int, m: int) -> None:
    assert 0.005 <= column.exceeding(floor_of(column, 0.01), n, m, 200_000) <= 0.015
    assert 0.2e-4 <= column.exceeding(floor_of(column, 1e-4), n, m, 400_000) <= 2e-4


@pytest.mark.long
@pytest.mark.parametrize("quantile", [0.01, 1e-4])
def test_floors_are_exceeded_as_often_as_they_say_over_all_columns(quantile: float) -> None:
    runs = int(2_000 / quantile) if quantile > 1e-3 else 400_000
    shares = [
        column.exceeding(column.simulate(quantile, seed), n, m, runs, seed + 50)
        for seed, column in enumerate(COLUMNS.values())
        for n, m in SIZES
    ]
    assert 0.85 <= np.mean(shares) / quantile <= 1.15


def test_floor_of_psi_approaches_the_chi_squared_limit() -> None:
    column = COLUMNS["psi-deciles"]
    floor = column.floor(floor_of(column, 1e-4), 100_000, 100_000)
    expected = stats.chi2.isf(1e-4, DECILES.size - 1)
    assert floor * 50_000 == pytest.approx(expected, rel=0.08)


@every_column
def test_floor_falls_with_rows_and_is_the_same_from_both_sides(column: Column) -> None:
    table = floor_of(column, 1e-4)
    sizes = np.geomspace(100, 1_000_000, 30)  # below, half a row a bin outweighs the rows
    values = [column.floor(table, size, size) for size in sizes]
    assert np.all(np.diff(values) < 0)
    assert column.floor(table, 300, 70_000) == column.floor(table, 70_000, 300)
    assert np.isfinite(column.floor(table, 1, 10**9))


def test_floors_are_interpolated_in_logarithms_and_held_at_the_ends() -> None:
    table = FloorTable("psi", 0.01, (10, 1_000), (1, 100), ((1.0, 3.0), (5.0, 7.0)))
    for n, m, scaled in (
        (10, 10, 1.0),
        (100, 100, 2.0),
        (100, 10_000, 6.0),
        (100, 1_000, 4.0),
        (1, 1, 1.0),
        (5_000, 5_000, 3.0),
        (10, 10_000_000, 5.0),
    ):
        assert table.at(n, m, 0.25) == pytest.approx(0.25 + scaled * (n + m) / (n * m))


@every_column
def test_rarer_exceedance_means_a_higher_floor(column: Column) -> None:
    often, seldom = floor_of(column, 0.01), floor_of(column, 1e-4)
    assert all(column.floor(seldom, n, m) > column.floor(often, n, m) for n, m in SIZES)


def test_floors_repeat_from_a_seed() -> None:
    column = COLUMNS["wasserstein-gamma"]
    assert column.simulate(1e-4, 5) == column.simulate(1e-4, 5)
    assert column.simulate(1e-4, 5) != column.simulate(1e-4, 6)


@every_column
def test_floors_come_back_from_json(column: Column) -> None:
    before = floor_of(column, 1e-4)
    after = FloorTable.from_json(json.loads(json.dumps(before.to_json())))
    assert after.at(456, 7_890, 0.0) == pytest.approx(before.at(456, 7_890, 0.0), rel=1e-4)
    assert after.to_json() == before.to_json()


def test_floors_of_another_form_are_refused() -> None:
    good = floor_of(COLUMNS["psi-two-values"], 0.01).to_json()
    with pytest.raises(ValueError, match="unknown method 'guess'"):
        FloorTable.from_json({**good, "method": "guess"})
    with pytest.raises(ValueError, match="a row for each ratio"):
        FloorTable.from_json({**good, "scaled": good["scaled"][1:]})
    with pytest.raises(ValueError, match="must rise"):
        FloorTable.from_json({**good, "sizes": good["sizes"][::-1]})
    with pytest.raises(KeyError, match="sizes"):
        FloorTable.from_json({key: value for key, value in good.items() if key != "sizes"})


@pytest.mark.parametrize("method", list(METHODS))
def test_a_constant_column_has_a_floor_that_equal_counts_do_not_exceed(method: str) -> None:
    positions = np.array([3.0, 4.0]) if METHODS[method].bins == "fine" else None
    rng = np.random.default_rng(1)
    reference = np.array([500, 0])
    table = simulate_floors([METHODS[method]], reference, rng, positions, 1.0)[method]
    floor = table.at(300, 500, float(unmoved(METHODS[method], reference, 300, 500)))
    sides = Comparison(np.array([300, 0]), reference, positions, 1.0)
    assert METHODS[method].function(sides) <= floor < 0.01


@pytest.mark.parametrize("bins", [2, 4, 12])
@pytest.mark.parametrize("m", [300, 10_000, 100_000, 1_000_000])
def test_a_column_of_one_value_is_never_above_its_floor(bins: int, m: int) -> None:
    reference = np.zeros(bins, np.int64)
    reference[bins // 2] = m
    table = simulate_floors([METHODS["psi"]], reference, np.random.default_rng(1))["psi"]
    table = FloorTable.from_json(json.loads(json.dumps(table.to_json())))
    for n in (10, 12, 20, 50, 500, 2_000):
        value = METHODS["psi"].function(Comparison(reference // m * n, reference))
        assert value == table.at(n, m, float(unmoved(METHODS["psi"], reference, n, m)))
        assert (value > 0) == (n != m)


@pytest.mark.parametrize("empty", [0, 2, 10])
@pytest.mark.parametrize(("quantile", "least"), [(0.01, 0.25), (1e-4, 0.15)])
def test_few_rows_of_two_values_are_above_the_floor_no_more_often_than_it_says(
    empty: int, quantile: float, least: float
) -> None:
    """Chances are exact. Floors that touched each quantile would be exceeded half as often as they say."""
    column = Column("psi", np.array([0.9, 0.1, *[0.0] * empty]))
    table, chances = floor_of(column, quantile), []
    for n in range(10, 51):
        second = np.arange(n + 1)
        current = np.zeros((n + 1, column.shares.size), np.int64)
        current[:, 0], current[:, 1] = n - second, second
        values = METHODS["psi"].function(Comparison(current, column.reference))
        above = values > column.floor(table, n, ROWS)
        chances.append(float(stats.binom.pmf(second, n, 0.1)[above].sum()))
    assert max(chances) <= 1.2 * quantile
    assert np.mean(chances) >= least * quantile


SPARSE = {
    "five-of-twelve": Column("psi", np.array([0.5, 0.0, 0.3, 0.0, 0.0, 0.1, 0.07, 0.0, 0.03, 0.0, 0.0, 0.0])),
    "even-five": Column("psi", np.array([0.3, 0.25, 0.2, 0.15, 0.1, *[0.0] * 7])),
    "seven-of-twelve": Column("psi", np.array([0.25, 0.2, 0.15, 0.12, 0.1, 0.1, 0.08, *[0.0] * 5])),
}
sparse = pytest.mark.parametrize("column", SPARSE.values(), ids=list(SPARSE))


@sparse
@pytest.mark.parametrize("n", [10, 12, 17, 24, 33, 50])
def test_few_rows_in_bins_of_which_many_are_empty(column: Column, n: int) -> None:
    assert 0.002 <= column.exceeding(floor_of(column, 0.01), n, ROWS, 40_000) <= 0.015


@pytest.mark.long
@sparse
def test_few_rows_in_bins_of_which_many_are_empty_at_every_number_of_rows(column: Column) -> None:
    often, seldom = (
        [column.exceeding(floor_of(column, quantile), n, ROWS, runs) for n in range(10, 51)]
        for quantile, runs in ((0.01, 100_000), (1e-4, 400_000))
    )
    assert min(often) >= 0.002
    assert max(often) <= 0.015
    assert 0.3e-4 <= np.mean(seldom) <= 1.2e-4
    assert max(seldom) <= 2.5e-4  # one in ten thousand is seen in 400,000 runs to a sixth of it


@pytest.mark.parametrize("method", ["psi", "cramers_v", "jensen_shannon", "hellinger"])
def test_many_rows_a_bin_are_chi_squared_as_the_simulation_says(method: str) -> None:
    column = Column(method, np.array([0.4, 0.3, 0.2, 0.1, 0.0]))
    table = column.simulate(0.01, seed=3)
    size = 1_000  # the first that is not simulated, with 100 rows in the rarest bin
    assert 0.008 <= column.exceeding(table, size, size, 100_000) <= 0.012
    assert 0.008 <= column.exceeding(table, size, 20 * size, 100_000) <= 0.012


def test_methods_that_share_draws_have_the_floors_they_have_alone() -> None:
    reference = np.round(CATEGORIES * ROWS).astype(np.int64)
    names = ["psi", "cramers_v", "hellinger"]
    together = simulate_floors([METHODS[name] for name in names], reference, np.random.default_rng(4))
    assert list(together) == names
    for name in names:
        alone = simulate_floors([METHODS[name]], reference, np.random.default_rng(4))[name]
        assert together[name] == alone


def test_a_shift_of_half_a_standard_deviation_is_beyond_noise_and_limit() -> None:
    edges = stats.norm.ppf(np.arange(1, 10) / 10)
    bounds = np.concatenate([[-np.inf], edges, [np.inf]])
    clean, moved = (np.diff(stats.norm.cdf(bounds - shift)) for shift in (0.0, 0.5))
    column = Column("psi", clean)
    floor = column.floor(column.simulate(1e-4, seed=1), 1_000, 50_000)
    rng = np.random.default_rng(2)
    reference = rng.multinomial(50_000, clean)
    values = METHODS["psi"].function(Comparison(rng.multinomial(1_000, moved, 5_000), reference))
    assert np.mean(values > floor) > 0.99
    assert np.mean(values > 0.2) > 0.90
