import json
from dataclasses import dataclass
from functools import cache

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from ml_exporter.stats.distance import METHODS, Comparison
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

    def simulate(self, quantile: float, seed: int) -> FloorTable:
        reference = np.round(self.shares * ROWS).astype(np.int64)
        rng = np.random.default_rng(seed)
        methods = [METHODS[self.method]]
        return simulate_floors(methods, reference, rng, self.positions, self.scale, quantile)[self.method]

    def exceeding(self, table: FloorTable, n: int, m: int, runs: int, seed: int = 2) -> float:
        """Share of plain draws without drift that lie above the floor."""
        rng = np.random.default_rng(seed)
        method, limit, above = METHODS[self.method], table.at(n, m), 0
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
    floor = floor_of(COLUMNS["psi-deciles"], 1e-4)
    expected = stats.chi2.isf(1e-4, DECILES.size - 1)
    assert floor.at(100_000, 100_000) * 50_000 == pytest.approx(expected, rel=0.08)


@every_column
def test_floor_falls_with_rows_and_is_the_same_from_both_sides(column: Column) -> None:
    floor = floor_of(column, 1e-4)
    sizes = np.geomspace(100, 1_000_000, 30)  # below, half a row a bin outweighs the rows
    values = [floor.at(size, size) for size in sizes]
    assert np.all(np.diff(values) < 0)
    assert floor.at(300, 70_000) == floor.at(70_000, 300)
    assert np.isfinite(floor.at(1, 10**9))


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
        assert table.at(n, m) == pytest.approx(scaled * (n + m) / (n * m))


@every_column
def test_rarer_exceedance_means_a_higher_floor(column: Column) -> None:
    often, seldom = floor_of(column, 0.01), floor_of(column, 1e-4)
    assert all(seldom.at(n, m) > often.at(n, m) for n, m in SIZES)


def test_floors_repeat_from_a_seed() -> None:
    column = COLUMNS["wasserstein-gamma"]
    assert column.simulate(1e-4, 5) == column.simulate(1e-4, 5)
    assert column.simulate(1e-4, 5) != column.simulate(1e-4, 6)


@every_column
def test_floors_come_back_from_json(column: Column) -> None:
    before = floor_of(column, 1e-4)
    after = FloorTable.from_json(json.loads(json.dumps(before.to_json())))
    assert after.at(456, 7_890) == pytest.approx(before.at(456, 7_890), rel=1e-4)
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
    floor = simulate_floors([METHODS[method]], np.array([500, 0]), rng, positions, 1.0)[method]
    sides = Comparison(np.array([300, 0]), np.array([500, 0]), positions, 1.0)
    assert METHODS[method].function(sides) <= floor.at(300, 500) < 0.01


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
    table = Column("psi", clean).simulate(1e-4, seed=1)
    rng = np.random.default_rng(2)
    reference = rng.multinomial(50_000, clean)
    values = METHODS["psi"].function(Comparison(rng.multinomial(1_000, moved, 5_000), reference))
    assert np.mean(values > table.at(1_000, 50_000)) > 0.99
    assert np.mean(values > 0.2) > 0.90
