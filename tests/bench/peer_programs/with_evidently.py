"""Evidently: PSI of the 20 features against the reference, as a report's dictionary."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pandas as pd
from evidently import DataDefinition, Dataset, Report
from evidently.presets import DataDriftPreset
from tests.bench.peer_programs.common import CATEGORIES, FEATURES, NUMBERS, measure, read


def program(reference: pd.DataFrame) -> Callable[[Path], tuple[float, int]]:
    """Prepare the reference; the report itself is timed."""
    definition = DataDefinition(numerical_columns=NUMBERS, categorical_columns=CATEGORIES)
    known = Dataset.from_pandas(reference[FEATURES], data_definition=definition)

    def timed(log: Path) -> tuple[float, int]:
        started = time.perf_counter()
        rows = read(log)[FEATURES]
        reading = time.perf_counter() - started
        preset = DataDriftPreset(columns=FEATURES, num_method="psi", cat_method="psi")
        current = Dataset.from_pandas(rows, data_definition=definition)
        report = Report([preset]).run(current, known).dict()
        return reading, sum("ValueDrift" in str(metric) for metric in report["metrics"])

    return timed


measure(program)
