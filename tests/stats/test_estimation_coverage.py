"""How often the bounds of expected quality hold what the same rows' labels show, without concept drift."""

from collections import defaultdict
from collections.abc import Mapping

import numpy as np
import pytest
from tests.support.forecasts import Model, bin_of, quantile_edges, realized, table

from ml_exporter.stats.estimation import ESTIMATED_METRICS, estimate_binary, fit_calibration
from ml_exporter.stats.folds import chronological_folds
from ml_exporter.stats.result import Value


def coverage(model: Model, n: int, reference: int, shift: float, runs: int) -> Mapping[str, float]:
    """Share of runs, each with a reference of its own, whose bounds hold the realized value."""
    rng = np.random.default_rng(11)
    held: dict[str, list[bool]] = defaultdict(list)
    for _ in range(runs):
        known, window = model.draw(rng, reference), model.draw(rng, n, shift)
        edges = quantile_edges(known.scores, min(reference // 50, 200))
        b = edges.size + 1
        learned = fit_calibration(
            bin_of(edges, known.scores), known.labels, chronological_folds(reference), b
        )
        counts = table(bin_of(edges, window.scores), window.predicted, b)
        shown = realized(window)
        for name, result in estimate_binary(counts, learned).items():
            assert isinstance(result, Value)
            assert result.lower is not None
            assert result.upper is not None
            held[name].append(result.lower <= shown[name] <= result.upper)
    return {name: float(np.mean(hits)) for name, hits in held.items()}


def outside(shares: Mapping[str, float], slack: float) -> dict[str, float]:
    assert tuple(shares) == ESTIMATED_METRICS
    return {name: share for name, share in shares.items() if not 0.93 - slack <= share <= 0.97 + slack}


@pytest.mark.parametrize(
    ("model", "n", "shift"),
    [(Model(), 500, 0.0), (Model(offset=0.1), 2_000, 0.0), (Model(slope=1.5), 2_000, 0.7)],
    ids=["calibrated", "offset", "overconfident"],
)
def test_bounds_hold_the_realized_values(model: Model, n: int, shift: float) -> None:
    assert outside(coverage(model, n, 5_000, shift, 200), slack=0.025) == {}


@pytest.mark.long
@pytest.mark.parametrize("reference", [5_000, 50_000])
@pytest.mark.parametrize("n", [500, 2_000, 10_000])
@pytest.mark.parametrize(
    ("model", "shift"),
    [
        (Model(), 0.0),
        (Model(offset=0.1), 0.0),
        (Model(slope=1.5), 0.7),
        (Model(mean=-3.0, spread=1.5, threshold=0.15), 0.3),
        (Model(mean=0.0, spread=6.0, slope=0.8), 0.0),
    ],
    ids=["calibrated", "offset", "overconfident", "rare", "sharp"],
)
def test_bounds_hold_the_realized_values_in_full(model: Model, shift: float, n: int, reference: int) -> None:
    assert outside(coverage(model, n, reference, shift, 1_000), slack=0.0) == {}
