"""Rows and profiles for counting, without a log: a number, a category, scores, several versions."""

import dataclasses

import numpy as np
from numpy.typing import NDArray

from ml_exporter.layout import Constraint, Layout, grid_codes, grid_value
from ml_exporter.profile import CategoricalColumn, NumericColumn, Profile
from ml_exporter.sources.batch import ABSENT, INVALID, NEGATIVE, POSITIVE, Numbers, Predictions

VALUES = ("red", "blue", "rose", "teal", "moss")
"""What a decoder knows of the category: more than one version's profile does, and in another order."""


def numeric(edges: list[float], center: float = 0.0, scale: float = 1.0) -> NumericColumn:
    """A column with the given edges, moved to the grid."""
    snapped = np.unique(grid_value(grid_codes(np.array(edges, np.float64), center, scale)))
    bins = snapped.size + 1
    return NumericColumn(
        kind="numeric",
        center=center,
        scale=scale,
        edges=tuple(snapped.tolist()),
        positions=(0.0,) * bins,
        groups=(0,) * bins,
        counts=(1,) * bins,
        missing=0,
        minimum=-1.5,
        maximum=2.5,
        mean=0.0,
        deviation=1.0,
    )


def layout(limits: dict[str, tuple[float | None, float | None]] | None = None) -> Layout:
    """Cells of a number, a category (blue and teal frequent, moss rare), the score and the class."""
    category = CategoricalColumn(
        kind="categorical", categories=("blue", "teal"), rare=("moss",), counts=(5, 3, 1, 0), missing=0
    )
    classes = CategoricalColumn(
        kind="categorical", categories=("negative", "positive"), rare=(), counts=(5, 3, 0, 0), missing=0
    )
    columns: dict[str, NumericColumn | CategoricalColumn] = {
        "x": numeric([-1.0, 0.0, 0.5, 2.0]),
        "c": category,
        "score": numeric([0.25, 0.5, 0.75]),
        "prediction": classes,
    }
    profile = Profile(
        format=1,
        model="m",
        task="binary",
        rows=9,
        labelled=9,
        first="",
        last="",
        windows={},
        columns=columns,
        ignored={},
        quality={},
    )
    ranges = {name: Constraint(low, high) for name, (low, high) in (limits or {}).items()}
    return Layout(profile, ranges)


def predictions(times: NDArray[np.int64], seed: int = 1) -> Predictions:
    """Random rows at given times, with missing and invalid values, failed requests and no latency."""
    random = np.random.default_rng(seed)
    n = times.size
    x = random.normal(size=n) * 2
    x[random.uniform(size=n) < 0.05] = np.inf
    missing, wrong = random.uniform(size=(2, n)) < 0.1
    missing &= ~wrong
    x[missing | wrong] = np.nan
    scores = random.uniform(size=n)
    scores[random.uniform(size=n) < 0.1] = np.nan
    scores[random.uniform(size=n) < 0.05] = np.inf
    latency = random.exponential(0.3, n)
    latency[random.uniform(size=n) < 0.1] = np.nan
    latency[random.uniform(size=n) < 0.05] = -1.0
    return Predictions(
        np.arange(n, dtype=np.uint64),
        times,
        random.integers(0, 3, n),
        ("1", "2", "other"),
        scores,
        random.choice(np.array([NEGATIVE, POSITIVE, ABSENT, INVALID], np.int8), n),
        None,
        latency,
        random.uniform(size=n) < 0.1,
        {"x": Numbers(x, missing, wrong)},
        {"c": random.integers(0, len(VALUES) + 2, n)},
        {"c": VALUES},
    )


def healthy(rows: Predictions) -> Predictions:
    """The same rows, and no request has failed."""
    return dataclasses.replace(rows, errors=np.zeros(len(rows), np.bool_))
