"""The demo's data: the committed file, and the joins that made it."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import duckdb
import make_flights
import pandas as pd
import pyarrow.parquet as pq
import pytest

DATA = Path(make_flights.__file__).with_name("flights.parquet")

FIRST = {
    "carrier": "UA",
    "origin": "EWR",
    "dest": "IAH",
    "hour": 5,
    "weekday": 1,
    "distance": 1400,
    "plane_age": 14,
    "seats": 149,
    "wind_dir": 250,
    "wind_speed": 12.66,
    "wind_gust": None,
    "humid": 62.21,
    "precip": 0.0,
    "pressure": 1012.2,
    "visib": 10.0,
    "mean_dep_delay": None,
}


@pytest.fixture(scope="module")
def flights() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect(config={"threads": 2}) as connection:
        connection.execute("SET timezone = 'UTC'")
        connection.execute(f"CREATE VIEW flights AS FROM read_parquet('{DATA}')")
        yield connection


def one(connection: duckdb.DuckDBPyConnection, query: str) -> tuple[object, ...]:
    row = connection.execute(query).fetchone()
    assert row is not None
    return tuple(row)


def test_schema_is_that_of_the_prediction_log(flights: duckdb.DuckDBPyConnection) -> None:
    columns = {row[0]: row[1] for row in flights.execute("DESCRIBE flights").fetchall()}
    features = columns.pop("features")
    assert list(columns)[:7] == ["id", "ts", "version", "score", "prediction", "label", "label_ts"]
    assert columns == {
        "id": "VARCHAR",
        "ts": "TIMESTAMP WITH TIME ZONE",
        "version": "VARCHAR",
        "score": "FLOAT",
        "prediction": "BOOLEAN",
        "label": "BOOLEAN",
        "label_ts": "TIMESTAMP WITH TIME ZONE",
        "arr_delay": "SMALLINT",
        "cancelled_ts": "TIMESTAMP WITH TIME ZONE",
        "minutes": "STRUCT(prediction FLOAT, lower FLOAT, upper FLOAT)",
        "outcome": "STRUCT(late FLOAT, cancelled FLOAT)",
    }
    assert features.startswith("STRUCT(carrier VARCHAR, origin VARCHAR, dest VARCHAR,")
    assert [part.split()[0].strip('"') for part in features[7:-1].split(", ")] == make_flights.FEATURES


def test_first_flight(flights: duckdb.DuckDBPyConnection) -> None:
    row = one(
        flights, "SELECT id, ts::VARCHAR, version, label, label_ts::VARCHAR, features FROM flights LIMIT 1"
    )
    assert row[:5] == (
        "2013-01-01-UA-1545-EWR",
        "2013-01-01 10:15:00+00",
        "1",
        False,
        "2013-01-01 14:30:00+00",
    )
    assert row[5] == FIRST


def test_every_flight_is_there_once_per_version(flights: duckdb.DuckDBPyConnection) -> None:
    counts = flights.execute(
        "SELECT version, count(*), count(DISTINCT id), count(label), sum(label::INT) FROM flights GROUP BY ALL ORDER BY 1"
    ).fetchall()
    assert counts == [("1", 336_776, 336_776, 327_346, 77_630), ("2", 170_722, 170_722, 166_756, 37_689)]


def test_rows_are_in_order(flights: duckdb.DuckDBPyConnection) -> None:
    query = "SELECT ts, version, id, lag((ts, version, id)) OVER () AS before FROM flights"
    assert one(flights, f"SELECT count(*) FROM ({query}) WHERE (ts, version, id) <= before") == (0,)


def test_versions_begin_when_they_were_trained(flights: duckdb.DuckDBPyConnection) -> None:
    query = "SELECT min(ts)::DATE::VARCHAR, max(ts)::DATE::VARCHAR FROM flights WHERE version = '{}'"
    assert one(flights, query.format("1")) == ("2013-01-01", "2014-01-01")
    assert one(flights, query.format("2")) == ("2013-07-01", "2014-01-01")


def test_labels_come_after_the_prediction(flights: duckdb.DuckDBPyConnection) -> None:
    least, median, p90, mature = one(
        flights,
        """SELECT min(d), median(d), quantile_cont(d, 0.9), avg((d <= 12)::INT)
        FROM (SELECT epoch(label_ts - ts) / 3600 AS d FROM flights WHERE version = '1')""",
    )
    assert isinstance(least, float)
    assert least > 0
    assert (median, p90, mature) == pytest.approx((2.83, 5.98, 0.9997), abs=0.005)
    assert one(flights, "SELECT count(*) FROM flights WHERE (label IS NULL) != (label_ts IS NULL)") == (0,)


def test_months(flights: duckdb.DuckDBPyConnection) -> None:
    rows = flights.execute(
        """SELECT month(ts), count(label), round(avg(label::INT), 3), round(avg((score - label::INT) ** 2), 3)
        FROM flights WHERE version = '1' AND year(ts) = 2013 GROUP BY ALL ORDER BY 1"""
    ).fetchall()
    assert [row[0] for row in rows] == list(range(1, 13))
    assert [row[3] for row in rows[3:]] == pytest.approx(
        [0.180, 0.143, 0.181, 0.189, 0.160, 0.108, 0.126, 0.132, 0.195], abs=0.002
    )
    assert [row[2] for row in rows] == pytest.approx(
        [0.225, 0.233, 0.228, 0.280, 0.219, 0.306, 0.317, 0.238, 0.132, 0.167, 0.174, 0.325], abs=0.001
    )
    assert min(row[1] for row in rows) > 23_000


def test_a_flight_is_late_by_its_minutes(flights: duckdb.DuckDBPyConnection) -> None:
    query = "SELECT count(*) FROM flights WHERE version = '1' AND {}"
    assert one(flights, query.format("(arr_delay > 15) IS DISTINCT FROM label")) == (0,)
    assert one(flights, query.format("cancelled_ts IS NOT NULL AND label IS NOT NULL")) == (0,)
    assert one(flights, query.format("cancelled_ts IS NOT NULL")) == (8_255,)
    assert one(flights, query.format("cancelled_ts <= ts OR cancelled_ts > ts + INTERVAL 12 HOUR")) == (0,)


def test_the_other_models_stand_in_the_rows_of_version_1(flights: duckdb.DuckDBPyConnection) -> None:
    query = """SELECT version, count(minutes.prediction), count(minutes.lower), count(minutes.upper),
        count(outcome.late), count(outcome.cancelled) FROM flights GROUP BY ALL ORDER BY ALL"""
    assert flights.execute(query).fetchall() == [("1", *[336_776] * 5), ("2", *[0] * 5)]
    least = "SELECT min(least(outcome.late, outcome.cancelled, 1 - outcome.late - outcome.cancelled)) > 0 FROM flights"
    assert one(flights, least) == (True,)


def test_score_decides_the_prediction(flights: duckdb.DuckDBPyConnection) -> None:
    assert one(flights, "SELECT min(score) > 0, max(score) < 1 FROM flights") == (True, True)
    assert one(flights, "SELECT count(*) FROM flights WHERE prediction != (score >= 0.5)") == (0,)


def test_the_file_is_small() -> None:
    assert DATA.stat().st_size < 10_000_000


def test_the_weather_was_out_on_31_december(flights: duckdb.DuckDBPyConnection) -> None:
    query = "SELECT avg((features.humid IS NULL)::INT) FROM flights WHERE ts::DATE = '2013-12-{}' AND hour(ts) > 9"
    assert one(flights, query.format(31)) == (1.0,)
    assert one(flights, query.format(29)) == (0.0,)


def frame(**columns: Sequence[object]) -> pd.DataFrame:
    table = pd.DataFrame(columns)
    for name in ("ts", "hour_start"):
        if name in table:
            table[name] = pd.to_datetime(table[name], utc=True)
    return table


def test_recent_delay_knows_no_later_departure() -> None:
    flights = frame(
        origin=["JFK"] * 4 + ["LGA"],
        ts=[
            "2013-05-01 10:00",
            "2013-05-01 10:30",
            "2013-05-01 11:00",
            "2013-05-01 13:00",
            "2013-05-01 13:00",
        ],
        # Left at 10:10, never, at 13:00 (after the hour before 13:00 had begun), at 13:00.
        dep_delay=[10.0, None, 120.0, 0.0, 5.0],
    )
    delays = make_flights.recent_delay(flights)
    assert delays[3] == 10.0
    assert delays.isna().tolist() == [True, True, True, False, True]


def test_arrival_is_the_first_time_on_the_destination_s_clock() -> None:
    flights = frame(
        ts=[
            "2013-05-01 12:00",
            "2013-05-02 02:00",
            "2013-03-10 04:30",
            "2013-05-01 12:00",
            "2013-05-01 12:00",
        ],
        dep_delay=[10.0, 0.0, 0.0, None, 0.0],
        # 9:05 in Chicago; past midnight in Los Angeles; 3:30 after the clocks of New York jumped from 2 to 3.
        arr_time=[905.0, 35.0, 330.0, None, 1200.0],
        arr_delay=[0.0, 0.0, 0.0, None, None],
        dest=["ORD", "LAX", "BUF", "ORD", "ORD"],
    )
    zones = {"ORD": "America/Chicago", "LAX": "America/Los_Angeles", "BUF": "America/New_York"}
    airports = pd.DataFrame({"faa": list(zones), "tzone": list(zones.values())})
    arrived = make_flights.arrival(flights, airports)
    assert arrived[:3].dt.strftime("%d %H:%M").tolist() == ["01 14:05", "02 07:35", "10 07:30"]
    assert arrived[3:].isna().all()


def test_midnight_arrivals_are_written_as_2400() -> None:
    flights = frame(
        ts=["2013-05-02 01:00"], dep_delay=[0.0], arr_time=[2400.0], arr_delay=[0.0], dest=["SJU"]
    )
    arrived = make_flights.arrival(flights, pd.DataFrame({"faa": [], "tzone": []}))
    assert arrived.dt.strftime("%d %H:%M").tolist() == ["02 04:00"]


def test_a_cancellation_is_known_when_the_flight_was_to_land() -> None:
    flights = frame(
        ts=["2013-05-01 12:00", "2013-05-02 02:00", "2013-05-01 12:00"],
        dep_delay=[None, None, 3.0],
        # 13:05 in Chicago; past midnight in Los Angeles; this one left.
        sched_arr_time=[1305, 35, 1305],
        dest=["ORD", "LAX", "ORD"],
    )
    zones = {"ORD": "America/Chicago", "LAX": "America/Los_Angeles"}
    airports = pd.DataFrame({"faa": list(zones), "tzone": list(zones.values())})
    known = make_flights.cancellation(flights, airports)
    assert known[:2].dt.strftime("%d %H:%M").tolist() == ["01 18:05", "02 07:35"]
    assert known[2:].isna().all()


def test_outcomes_of_flights() -> None:
    flights = frame(cancelled_ts=[pd.NaT, pd.NaT, pd.Timestamp("2013-05-01"), pd.NaT])
    flights["label"] = pd.array([True, False, None, None], "boolean")
    assert make_flights.outcome(flights).tolist()[:3] == ["late", "on_time", "cancelled"]
    assert make_flights.outcome(flights).isna().tolist() == [False, False, False, True]


def test_another_archive_is_refused() -> None:
    with pytest.raises(ValueError, match="SHA-256"):
        make_flights.read_tables(b"not the archive")


def test_written_file_reads_back(tmp_path: Path) -> None:
    rows = next(pq.ParquetFile(DATA).iter_batches(batch_size=1000)).to_pandas()
    features = pd.DataFrame(rows.pop("features").tolist())
    minutes = pd.DataFrame(rows.pop("minutes").tolist())
    minutes.columns = pd.Index(["minutes", "minutes_lower", "minutes_upper"])
    outcome = pd.DataFrame(rows.pop("outcome").tolist()).add_prefix("p_")
    table = make_flights.to_table(pd.concat([rows, features, minutes, outcome], axis=1))
    make_flights.write(table, tmp_path / "some.parquet")
    first = f"(SELECT * FROM '{DATA}' LIMIT 1000)"
    query = f"SELECT count(*) FROM (SELECT * FROM '{tmp_path / 'some.parquet'}' EXCEPT SELECT * FROM {first})"
    assert one(duckdb.connect(), query) == (0,)
    assert table.num_rows == 1000
