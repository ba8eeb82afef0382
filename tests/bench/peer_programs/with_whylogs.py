"""whylogs: a profile of the 20 features, merged over the chunks of the log, and its drift from the reference's."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import whylogs as why
from tests.bench.peer_programs.common import FEATURES, chunks, measure
from whylogs.viz.drift.column_drift_algorithms import calculate_drift_scores


def program(reference: pd.DataFrame) -> Callable[[Path], tuple[float, int]]:
    """Profile the reference; profiling the log and comparing is timed."""
    known = why.log(pandas=reference[FEATURES]).profile().view()

    def timed(log: Path) -> tuple[float, int]:
        reading, view, started = 0.0, None, time.perf_counter()
        for rows in chunks(log):
            reading += time.perf_counter() - started
            found = why.log(pandas=rows[FEATURES]).profile().view()
            view = found if view is None else view.merge(found)
            started = time.perf_counter()
        scores = calculate_drift_scores(target_view=view, reference_view=known, with_thresholds=True)
        return reading, sum(score is not None for score in scores.values())

    return timed


measure(program)
