"""NannyML: univariate drift of the 20 features, and the performance of the rows with a label."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import nannyml
import pandas as pd
from tests.bench.peer_programs.common import CATEGORIES, FEATURES, measure, read

CHUNK_ROWS = 8_000
"""Rows that are judged together: the thresholds want at least six chunks of the reference."""
METRICS = ["roc_auc", "accuracy", "precision", "recall", "f1"]


def program(reference: pd.DataFrame) -> Callable[[Path], tuple[float, int]]:
    """Fit on the reference; calculating on the log is timed."""
    drift = nannyml.UnivariateDriftCalculator(
        column_names=FEATURES, treat_as_categorical=CATEGORIES, chunk_size=CHUNK_ROWS
    ).fit(reference)
    quality = nannyml.PerformanceCalculator(
        metrics=METRICS,
        y_true="label",
        y_pred="prediction",
        y_pred_proba="score",
        problem_type="classification_binary",
        chunk_size=CHUNK_ROWS,
    ).fit(labelled(reference))

    def timed(log: Path) -> tuple[float, int]:
        started = time.perf_counter()
        rows = read(log)
        reading = time.perf_counter() - started
        found = drift.calculate(rows).filter(period="analysis").to_df()
        quality.calculate(labelled(rows)).filter(period="analysis").to_df()
        return reading, len(set(found.columns.get_level_values(0)) & set(FEATURES))

    return timed


def labelled(rows: pd.DataFrame) -> pd.DataFrame:
    """Rows with a label, and what it is judged by, as numbers."""
    known = rows[rows["label"].notna()]
    return pd.DataFrame(
        {
            "label": known["label"].astype(int),
            "prediction": known["prediction"].astype(int),
            "score": known["score"],
        }
    )


measure(program)
