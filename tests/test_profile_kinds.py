"""What columns are taken for, and what a profile keeps of each kind."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ml_exporter.config import load as load_config
from ml_exporter.profile import Column, NumericColumn, Profile
from ml_exporter.profile_bins import numeric
from ml_exporter.profile_build import build
from ml_exporter.profile_data import Rows

CONFIG = """
models:
  - name: m
    predictions: {path: log.jsonl, fields: {timestamp: at, score: p}}
    windows: [10m]
    columns: %s
"""
START = 1_700_000_000


def built(folder: Path, columns: Mapping[str, Sequence[object]], config: str = "{}") -> Profile:
    """The profile of rows a second apart."""
    rows = [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]
    lines = [
        {"id": str(row), "at": START + row, "p": 0.5, "features": values} for row, values in enumerate(rows)
    ]
    (folder / "log.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    (folder / "m.yml").write_text(CONFIG % config)
    (model,) = load_config(folder / "m.yml").models
    return build(model, Rows(model, [folder / "log.jsonl"], None, None))


def number(column: Column) -> NumericColumn:
    assert isinstance(column, NumericColumn)
    return column


def test_columns_are_guessed_conservatively_and_say_why(tmp_path: Path) -> None:
    n = 400
    profile = built(
        tmp_path,
        {
            "amount": [row + 0.5 for row in range(n)],
            "code": [row % 3 for row in range(n)],
            "whole": [row % 50 for row in range(n)],
            "plan": ["free", "pro"] * (n // 2),
            "remark": [f"customer {row} called" for row in range(n)],
            "active": [row % 2 == 0 for row in range(n)],
            "since": [f"2023-11-{1 + row % 9:02d}T00:00:00Z" for row in range(n)],
            "list": [[row] for row in range(n)],
        },
    )
    taken = {name: (column.taken_for, column.note) for name, column in profile.columns.items()}
    assert taken == {
        "amount": ("numeric", "numbers (DOUBLE)"),
        "code": (
            "numeric",
            "numbers (BIGINT); 3 whole ones: if they are codes, configure it as integer_category",
        ),
        "whole": ("numeric", "numbers (BIGINT)"),
        "plan": ("categorical", "text"),
        "remark": ("text", "text with 400 different values, watched by its length"),
        "active": ("categorical", "truth values"),
        "since": ("timestamp", "time stamps (TIMESTAMP WITH TIME ZONE), watched by their age in seconds"),
        "score": ("numeric", ""),
        "prediction": ("categorical", ""),
    }
    assert profile.ignored == {"list": "lists of numbers (BIGINT[]), of which none has 2 to 4096 items"}


def test_the_configuration_knows_better(tmp_path: Path) -> None:
    n = 400
    values: dict[str, list[object]] = {
        "a": [row % 3 for row in range(n)],
        "b": ["x", ""] * (n // 2),
        "c": [START - 60 + row for row in range(n)],
        "d": [f"{row}" for row in range(n)],
        "e": ["x"] * n,
        "f": [row % 2 for row in range(n)],
    }
    kinds = ("integer_category", "text", "timestamp", "numeric", "ignore", "boolean")
    config = {name: {"kind": kind} for name, kind in zip(values, kinds, strict=True)}
    profile = built(tmp_path, values, json.dumps(config))
    taken = {name: column.taken_for for name, column in profile.columns.items() if name in values}
    assert taken == {
        "a": "categorical",
        "b": "text",
        "c": "timestamp",
        "d": "numeric",
        "f": "categorical",
    }
    assert profile.columns["b"].note == "configured as text"
    assert profile.ignored == {"e": "configured as ignore"}


def test_texts_are_watched_by_length_and_share_of_empty_ones(tmp_path: Path) -> None:
    texts = ["", None, "naïve", "日本", "x" * 400] * 80
    column = number(built(tmp_path, {"t": texts}, "{t: {kind: text}}").columns["t"])
    assert (column.minimum, column.maximum, column.missing) == (0.0, 400.0, 80)
    assert column.mean == pytest.approx((0 + 5 + 2 + 400) / 4)
    assert column.empty == 0.25


def test_time_stamps_are_watched_by_their_age(tmp_path: Path) -> None:
    ages = np.random.default_rng(1).integers(-50, 5_000, 400)
    stamps: list[object] = [(START + row - int(age)) * 1000 for row, age in enumerate(ages)]
    stamps[7], ages = "no time", np.delete(ages, 7)
    column = number(built(tmp_path, {"t": stamps}, "{t: {kind: timestamp}}").columns["t"])
    assert (column.minimum, column.maximum) == (ages.min(), ages.max())
    assert column.mean == pytest.approx(ages.mean())
    assert column.missing == 1


@given(
    st.lists(st.floats(-1e9, 1e9), min_size=30, max_size=300),
    st.lists(st.floats(-1e12, 1e12), max_size=5),
)
def test_fences_are_tukeys_and_outliers_are_what_lies_beyond(values: list[float], far: list[float]) -> None:
    rows = np.asarray(values + far)
    made = numeric(rows, np.zeros(rows.size, np.bool_), fenced=True)
    assert not isinstance(made, str)
    column, codes = made
    low, high = np.quantile(rows, (0.25, 0.75))
    if not high > low:
        assert column.fences is None
        assert column.outlying == ()
        return
    assert column.fences is not None
    # The grid is as fine as 0.8 % of the distance from the center, in either direction.
    slack = 0.02 * (abs(low - column.center) + abs(high - column.center) + 3 * (high - low))
    assert column.fences == pytest.approx((2.5 * low - 1.5 * high, 2.5 * high - 1.5 * low), abs=slack)
    beyond = np.isin(codes, column.outlying)
    assert np.all(rows[beyond & (rows < column.center)] < column.fences[0] + 1e-6 * slack)
    assert np.all(rows[beyond & (rows > column.center)] > column.fences[1] - 1e-6 * slack - slack)
    within = (rows > column.fences[0] + 1e-5 * slack) & (rows < column.fences[1] - 1e-5 * slack)
    assert not beyond[within].any()
    assert sum(column.counts[bin_] for bin_ in column.outlying) == np.count_nonzero(beyond)


def test_the_worst_stretch_of_the_reference_is_kept(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    values: list[float | None] = rng.normal(0, 1, 12_000).tolist()
    values[2_400:2_700] = [None] * 300  # half of one of 20 stretches of 10 minutes
    values[5_000:5_060] = [50.0] * 60
    column = number(built(tmp_path, {"v": values}).columns["v"])
    assert column.worst["10m"]["missing"] == 0.5
    assert 0.1 < column.worst["10m"]["outlier"] < 0.13
    short = built(tmp_path, {"v": values[:5_000]}).columns["v"]
    assert short.worst == {"10m": {"constant": pytest.approx(0.08, abs=0.03)}}
