"""Columns together on a year of flights whose days are shuffled: whatever a day shows then is no drift."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pytest
import yaml
from numpy.typing import NDArray

from ml_exporter.config import Model, load
from ml_exporter.drift import Column
from ml_exporter.joint import Coding, JointDrift
from ml_exporter.profile import Profile
from ml_exporter.profile_columns import Maker
from ml_exporter.profile_counts import Stretches
from ml_exporter.profile_data import Rows
from ml_exporter.profile_joint import Gathered, joint_of
from ml_exporter.stats.multivariate import METHODS, packed
from ml_exporter.stats.result import Value
from ml_exporter.tally import Tally

FLIGHTS = Path(__file__).parents[1] / "exporter/demo/flights.parquet"
DAY = 86_400.0


def shuffled(folder: Path, seed: int, months: int) -> None:
    """Write half of the first months' days as `known.parquet` and the others as `new.parquet`, in any order."""
    db = duckdb.connect()
    db.execute("SET timezone = 'UTC'")
    db.execute(
        f"CREATE TABLE flights AS SELECT * FROM '{FLIGHTS}' WHERE version = '1' AND month(ts) <= {months}"
    )
    days = [
        day for (day,) in db.execute("SELECT DISTINCT ts::DATE AS day FROM flights ORDER BY day").fetchall()
    ]
    order = np.random.default_rng(seed).permutation(len(days)).tolist()
    db.execute("CREATE TABLE places (day DATE, place INTEGER)")
    db.executemany("INSERT INTO places VALUES (?, ?)", list(zip(days, order, strict=True)))
    half = len(days) // 2
    for name, condition in (("known", f"place < {half}"), ("new", f"place >= {half}")):
        moved = "TIMESTAMPTZ '2013-01-01' + to_days(place) + (ts - date_trunc('day', ts))"
        db.execute(
            f"COPY (SELECT flights.* REPLACE ({moved} AS ts) FROM flights JOIN places ON ts::DATE = day "
            f"WHERE {condition} ORDER BY 2) TO '{folder}/{name}.parquet'"
        )


def model_of(folder: Path) -> Model:
    fields = {name: name for name in ("id", "version", "score", "prediction", "label", "features")}
    predictions = {"path": "known.parquet", "format": "parquet", "fields": {**fields, "timestamp": "ts"}}
    windows = {"windows": ["1d"], "alert_window": "1d", "multivariate": {"pca": {"max": 0.5}}}
    config = folder / "config.yml"
    config.write_text(yaml.safe_dump({"models": [{"name": "f", "predictions": predictions, **windows}]}))
    (found,) = load(config).models
    return found


Codes = Mapping[str, Callable[[Any], NDArray[np.int64]]]


def learned(model: Model, rows: Rows) -> tuple[Coding, Codes]:
    """How the columns of rows go together, and what gives the cells of others."""
    maker = Maker(model, rows, Stretches(rows.first, rows.last, {"1d": DAY}))
    gathered, columns, codes = Gathered(rows.sample.times), dict[str, Column](), {}
    for name, made in maker.features(lambda _, made: made):
        assert not isinstance(made, str)
        columns[name], codes[name] = made.column, made.codes
        gathered.add(name, made.column, made.codes(rows.sample))
    joint = joint_of(gathered, {"1d": DAY}, rows.first, rows.last)
    assert joint is not None
    return Coding(Profile.model_construct(columns=columns), joint), codes


def days_of(coding: Coding, codes: Codes, rows: Rows) -> Iterator[list[JointDrift]]:
    """What each day shows."""
    values = np.zeros((len(rows), coding.size))
    for name, tables in coding.tables.items():
        cells = codes[name](rows.sample)
        for place, table in tables:
            values[:, place] = table[cells]
    day = (rows.sample.times / 1e6) // DAY
    for number in np.unique(day).tolist():
        own = values[day == number]
        weight = np.asarray([len(own)])
        sums = {"weight": weight, "squares": weight, "sums": own.sum(axis=0)}
        yield list(coding.drifts(Tally({**sums, "products": packed(own.T @ own)}), "1d"))


def exceeding(folder: Path, seed: int, months: int) -> NDArray[np.bool_]:
    """Whether each day exceeds the noise, shape (days, methods)."""
    shuffled(folder, seed, months)
    model = model_of(folder)
    coding, codes = learned(model, Rows(model, [folder / "known.parquet"]))
    found = []
    for drifts in days_of(coding, codes, Rows(model, [folder / "new.parquet"])):
        row = []
        for drift in drifts:
            assert isinstance(drift.result, Value)
            assert drift.noise is not None
            assert not drift.short_reference
            row.append(drift.result.value > drift.noise)
        found.append(row)
    return np.asarray(found)


def test_shuffled_days_of_flights_are_within_the_noise(tmp_path: Path) -> None:
    found = exceeding(tmp_path, seed=1, months=5)
    assert found.shape == (76, len(METHODS))
    assert (found.mean(axis=0) < 0.06).all()


@pytest.mark.long
def test_shuffled_days_of_the_year_are_within_the_noise(tmp_path: Path) -> None:
    found = []
    for seed in range(8):
        (tmp_path / str(seed)).mkdir()
        found.append(exceeding(tmp_path / str(seed), seed, months=12))
    assert (np.concatenate(found).mean(axis=0) < 0.05).all()
