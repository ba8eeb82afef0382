import numpy as np
import pytest
from scipy import stats

from ml_exporter.stats.distance import cramers_v, ks
from ml_exporter.stats.pvalues import adjusted, chi_squared_pvalue, ks_pvalue

SHARES = np.array([0.4, 0.3, 0.15, 0.1, 0.05])


@pytest.mark.parametrize(("n", "m"), [(50, 500), (1_000, 1_000), (4_000, 90_000)])
def test_ks_pvalues_are_those_of_smirnovs_limit(n: int, m: int) -> None:
    rng = np.random.default_rng(1)
    current, reference = rng.normal(0.05, 1, n), rng.normal(0, 1, m)
    found = stats.ks_2samp(current, reference, method="asymp")
    own = ks_pvalue(np.asarray([found.statistic]), np.asarray([n]), np.asarray([m]))
    limit = stats.kstwobign.sf(found.statistic * np.sqrt(n * m / (n + m)))
    assert own[0] == pytest.approx(limit, abs=1e-12)
    assert own[0] == pytest.approx(found.pvalue, abs=0.05)


def test_chi_squared_pvalues_are_scipys() -> None:
    rng = np.random.default_rng(2)
    current, reference = rng.multinomial(300, SHARES, 20), rng.multinomial(5_000, SHARES, 20)
    current, reference = (np.insert(counts, 2, 0, axis=1) for counts in (current, reference))
    found = chi_squared_pvalue(current, reference, cramers_v(current, reference))
    for row in range(20):
        table = np.delete(np.stack([current[row], reference[row]]), 2, axis=1)
        assert found[row] == pytest.approx(stats.chi2_contingency(table, correction=False).pvalue, abs=1e-9)


def test_a_column_of_one_value_has_a_pvalue_of_one() -> None:
    current, reference = np.array([[50, 0]]), np.array([[900, 0]])
    assert chi_squared_pvalue(current, reference, cramers_v(current, reference)).tolist() == [1.0]


def test_without_drift_pvalues_are_uniform_or_larger() -> None:
    rng = np.random.default_rng(3)
    current, reference = rng.multinomial(500, SHARES, 4_000), rng.multinomial(8_000, SHARES, 4_000)
    n, m = np.full(4_000, 500), np.full(4_000, 8_000)
    uniform = chi_squared_pvalue(current, reference, cramers_v(current, reference))
    assert np.mean(uniform < 0.05) == pytest.approx(0.05, abs=0.012)
    assert np.mean(ks_pvalue(ks(current, reference), n, m) < 0.05) < 0.05


@pytest.mark.parametrize("size", [0, 1, 7, 50])
def test_adjusted_pvalues_are_scipys(size: int) -> None:
    values = np.random.default_rng(4).uniform(size=size) ** 3
    values[: size // 5] = values[:1]  # ties
    expected = stats.false_discovery_control(values) if size else values
    np.testing.assert_allclose(adjusted(values), expected, atol=1e-12)
