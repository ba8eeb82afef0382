"""Point values beside those of NannyML 0.13.1 on its own sample, chunk by chunk."""

import csv
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from ml_exporter.stats.estimation import ESTIMATED_METRICS, Calibration, estimate_binary, fit_calibration
from ml_exporter.stats.result import Value

GOLDEN = Path(__file__).parents[1] / "golden/nannyml"
CHUNKS = 10
BINS = 101  # the sample's scores have two decimals


@pytest.fixture(scope="module")
def rows() -> NDArray[np.int64]:
    """Rows of the sample by period (reference, analysis), tenth, score in hundredths, prediction, label."""
    counted = np.zeros((2, CHUNKS, BINS, 2, 2), np.int64)
    with (GOLDEN / "rows.csv").open() as file:
        for row in csv.DictReader(file):
            place = (int(row["tenth"]), round(100 * float(row["score"])), int(row["prediction"]))
            counted[(int(row["period"] == "analysis"), *place, int(row["label"]))] = int(row["rows"])
    assert counted.sum(axis=(1, 2, 3, 4)).tolist() == [50_000, 50_000]
    return counted


@pytest.fixture(scope="module")
def theirs() -> dict[str, Any]:
    found: dict[str, Any] = json.loads((GOLDEN / "estimates.json").read_text())
    return found


def estimates(rows: NDArray[np.int64]) -> Iterator[dict[str, Value]]:
    for chunk in rows[1]:
        found = estimate_binary(chunk.sum(axis=2), calibrated(rows))
        yield {name: result for name, result in found.items() if isinstance(result, Value)}


def calibrated(rows: NDArray[np.int64]) -> Calibration:
    cells = np.argwhere(rows[0])
    times = rows[0][tuple(cells.T)]
    folds, bins, _, labels = np.repeat(cells, times, axis=0).T
    return fit_calibration(bins, labels == 1, folds, BINS)


def test_values_are_nannymls(rows: NDArray[np.int64], theirs: dict[str, Any]) -> None:
    chunks = list(estimates(rows))
    gaps = {
        name: max(abs(chunk[name].value - value) for chunk, value in zip(chunks, values, strict=True))
        for name, values in theirs["estimated"].items()
    }
    assert len(gaps) == 7
    assert gaps.keys() <= set(ESTIMATED_METRICS)
    assert max(gaps.values()) < 0.001, gaps


def test_bounds_hold_what_the_labels_showed_until_the_concept_drifts(
    rows: NDArray[np.int64], theirs: dict[str, Any]
) -> None:
    """From the sixth tenth on a middle score comes true ten points less often, which no score shows."""
    held = np.array(
        [
            [holds(chunk[name], values[place]) for name, values in theirs["realized"].items()]
            for place, chunk in enumerate(estimates(rows))
        ]
    )
    assert held[:5].mean() >= 0.93
    precision = list(theirs["realized"]).index("precision")
    assert not held[5:, precision].any()


def holds(estimate: Value, label_value: float) -> bool:
    assert estimate.lower is not None
    assert estimate.upper is not None
    return estimate.lower <= label_value <= estimate.upper
