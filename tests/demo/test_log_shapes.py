"""What each of the demo's models logs, against the rows of the data, and that none knows too much."""

import json
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import duckdb
import dump
import flight_models
import make_flights
import pyarrow.parquet as pq
import pytest
import replay
from log_shapes import MODELS, OUTCOME_FEATURES, OUTCOMES, SHAPES

LATE, MINUTES, OUTCOME = SHAPES
# Known at the scheduled departure. Anything else in a record would be a look ahead.
KNOWN = {
    *("carrier", "origin", "dest", "hour", "weekday", "distance", "plane_age", "seats"),
    *("wind_dir", "wind_speed", "wind_gust", "humid", "precip", "pressure", "visib", "mean_dep_delay"),
}
DAY = (date(2013, 7, 1), date(2013, 7, 2))


@pytest.fixture(scope="module")
def year(june: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("year")
    dump.write(june, folder, *DAY, MODELS)
    return folder


@pytest.fixture(scope="module")
def flights(june: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    """The day's rows of version 1, as `day`."""
    with duckdb.connect(config={"threads": 1}) as connection:
        span = f"epoch_ms(ts) >= {replay.day_ms(DAY[0])} AND epoch_ms(ts) < {replay.day_ms(DAY[1])}"
        connection.execute(f"CREATE VIEW day AS FROM '{june}' WHERE version = '1' AND {span}")
        yield connection


def read(path: Path) -> dict[str, dict[str, Any]]:
    return {record["id"]: record for record in map(json.loads, path.read_text().splitlines())}


def test_minutes_are_those_of_the_data(year: Path, flights: duckdb.DuckDBPyConnection) -> None:
    predictions, labels = map(read, MINUTES.logs(year))
    rows = flights.execute(
        "SELECT id, minutes.prediction, minutes.lower, minutes.upper, arr_delay, label FROM day"
    ).fetchall()
    assert {row[0] for row in rows} == predictions.keys()
    for key, *expected, minutes, late in rows:
        record = predictions[key]
        found = [record["prediction"], record["lower"], record["upper"]]
        assert found == pytest.approx(expected, abs=1e-4)
        assert found == [round(value, 1) for value in found]
        assert record["lower"] <= record["prediction"] <= record["upper"]
        assert labels.get(key, {}).get("label") == minutes
        assert (None if minutes is None else minutes > 15) == late
    assert 0 < len(rows) - len(labels) < len(rows) / 10


def test_outcomes_are_those_of_the_data(year: Path, flights: duckdb.DuckDBPyConnection) -> None:
    predictions, labels = map(read, OUTCOME.logs(year))
    rows = flights.execute(
        "SELECT id, outcome.late, outcome.cancelled, label, label_ts IS NOT NULL, cancelled_ts IS NOT NULL FROM day"
    ).fetchall()
    assert {row[0] for row in rows} == predictions.keys()
    for key, late, cancelled, label, landed, called_off in rows:
        scores = predictions[key]["scores"]
        assert tuple(scores) == OUTCOMES
        assert (scores["late"], scores["cancelled"]) == pytest.approx((late, cancelled), abs=1e-6)
        assert sum(scores.values()) == pytest.approx(1, abs=1e-9)
        assert predictions[key]["prediction"] == max(OUTCOMES, key=scores.__getitem__)
        truth = "cancelled" if called_off else {True: "late", False: "on_time", None: None}[label]
        assert labels.get(key, {}).get("label") == truth
        assert (truth is None) == (not landed and not called_off)
    assert {record["label"] for record in labels.values()} == set(OUTCOMES)


def test_both_know_of_a_landing_when_the_first_model_does(year: Path) -> None:
    late, minutes, outcome = (read(shape.logs(year)[1]) for shape in SHAPES)
    assert late.keys() == minutes.keys() < outcome.keys()
    for key, record in late.items():
        assert record["ts"] == minutes[key]["ts"] == outcome[key]["ts"]
    assert {outcome[key]["label"] for key in outcome.keys() - late.keys()} == {"cancelled"}


@pytest.mark.parametrize("shape", SHAPES, ids=MODELS)
def test_no_record_knows_more_than_the_departure_board(year: Path, shape: Any) -> None:
    record: dict[str, Any]
    for record in read(shape.logs(year)[0]).values():
        assert record.keys() == {"id", "ts", "version", "latency_s", "features", *shape.answer}
        assert record["features"].keys() == (KNOWN if shape is not OUTCOME else set(OUTCOME_FEATURES))


def test_nothing_tells_the_outcome_that_a_flight_has_no_plane() -> None:
    assert list(OUTCOME_FEATURES) == flight_models.OUTCOME_FEATURES
    assert set(OUTCOME_FEATURES) == KNOWN - {"plane_age", "seats"}
    assert set(flight_models.FEATURES) == KNOWN
    assert list(OUTCOMES) == flight_models.OUTCOMES


def test_cancelled_flights_share_their_inputs_with_those_that_left() -> None:
    """Weather and delays belong to the airport and the moment: they cannot tell one flight from another."""
    data = Path(make_flights.__file__).with_name("flights.parquet")
    shared = [name for name in OUTCOME_FEATURES if name in {*flight_models.WEATHER, "mean_dep_delay"}]
    different = " OR ".join(f"count(DISTINCT coalesce(features.{name}, -1)) > 1" for name in shared)
    groups = f"SELECT 1 FROM '{data}' WHERE version = '1' GROUP BY features.origin, ts HAVING {different}"
    missing = f"SELECT avg((features.plane_age IS NULL)::INT) FROM '{data}' WHERE version = '1' AND {{}}"
    with duckdb.connect(config={"threads": 1}) as connection:
        assert len(shared) == 8
        assert connection.execute(groups).fetchall() == []
        ((cancelled,),) = connection.execute(missing.format("cancelled_ts IS NOT NULL")).fetchall()
        ((landed,),) = connection.execute(missing.format("label IS NOT NULL")).fetchall()
    # What the registry knows does tell it.
    assert cancelled > landed + 0.1


def test_labelled_rows_are_both_logs_in_one(june: Path, year: Path, tmp_path: Path) -> None:
    counts = dump.write_labelled(june, tmp_path, *DAY, MODELS)
    for shape in SHAPES:
        predictions, labels = shape.logs(year)
        rows = pq.read_table(tmp_path / f"{shape.model}.parquet").to_pylist()
        assert counts[shape.model] == (len(rows), sum(row["label"] is not None for row in rows))
        known = {key: record["label"] for key, record in read(labels).items()}
        logged = [json.loads(line) for line in predictions.read_text().splitlines()]
        for row, record in zip(rows, logged, strict=True):
            assert row["ts"].isoformat(timespec="milliseconds").replace("+00:00", "Z") == record["ts"]
            assert {**row, "ts": record["ts"]} == {**record, "label": known.get(record["id"])}
