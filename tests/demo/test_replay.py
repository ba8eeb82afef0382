"""The demo's stream of predictions and labels: when, under which ids, and what each fault does to it."""

import json
import random
from collections.abc import Collection, Iterator
from datetime import date
from pathlib import Path
from typing import Any

import duckdb
import faults
import logs
import pytest
import replay

START_MS = replay.day_ms(date(2013, 4, 1))
ORIGIN = 1_800_000_000.0
DAY_SECONDS = 30.0


@pytest.fixture(scope="module")
def flights(june: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    with replay.load(june, START_MS) as connection:
        yield connection


def stream(flights: duckdb.DuckDBPyConnection, begin: float = ORIGIN) -> replay.Replay:
    start = replay.day_ms(date(2013, 6, 30))
    return replay.Replay(flights, start, DAY_SECONDS, ORIGIN, begin, "run")


def records(lines: list[str]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in lines]


def test_clock_and_back() -> None:
    lap = replay.Lap(START_MS, ORIGIN, DAY_SECONDS, "run", START_MS)
    assert lap.wall(START_MS + replay.DAY_MS) == ORIGIN + 30
    assert lap.simulated(ORIGIN + 15) == START_MS + replay.DAY_MS // 2


def test_record_is_that_of_a_model_server(flights: duckdb.DuckDBPyConnection) -> None:
    record = records(stream(flights).predictions(ORIGIN + 60, ()))[0]
    assert list(record) == ["id", "ts", "version", "score", "prediction", "latency_s", "features"]
    assert record["ts"] == "2027-01-15T08:00:00.000Z"
    assert record["id"].startswith("2013-06-29-")
    assert record["id"].endswith("-run")
    assert isinstance(record["prediction"], bool)


def test_ticks_give_what_one_look_gives(flights: duckdb.DuckDBPyConnection) -> None:
    at_once, ticking = stream(flights), stream(flights)
    times = [ORIGIN + 1.7 * tick for tick in range(1, 25)]
    assert at_once.predictions(times[-1], ()) == [line for t in times for line in ticking.predictions(t, ())]
    assert at_once.labels(times[-1], ()) == [line for t in times for line in ticking.labels(t, ())]


def test_labels_meet_their_predictions_later(flights: duckdb.DuckDBPyConnection) -> None:
    play = stream(flights)
    predictions = {r["id"]: r for r in records(play.predictions(ORIGIN + 80, ()))}
    labels = records(play.labels(ORIGIN + 80, ()))
    assert len(labels) == len({label["id"] for label in labels}) > 1000
    assert all(label["ts"] > predictions[label["id"]]["ts"] for label in labels)
    assert [label["ts"] for label in labels] == sorted(label["ts"] for label in labels)


def test_shadow_scores_the_same_ids_from_july(flights: duckdb.DuckDBPyConnection) -> None:
    rows = records(stream(flights).predictions(ORIGIN + 90, ()))
    first = {r["id"] for r in rows if r["version"] == "1"}
    second = {r["id"] for r in rows if r["version"] == "2"}
    assert second < first
    assert min(r["ts"] for r in rows if r["version"] == "2") >= logs.stamp(ORIGIN + DAY_SECONDS)


def test_few_requests_fail_without_an_answer(flights: duckdb.DuckDBPyConnection) -> None:
    rows = records(stream(flights).predictions(ORIGIN + 90, ()))
    failed = [r for r in rows if "error" in r]
    assert 0 < len(failed) < len(rows) / 200
    assert all("score" not in r and "prediction" not in r for r in failed)
    latencies = sorted(r["latency_s"] for r in rows)
    assert latencies[len(rows) // 2] == pytest.approx(0.02, rel=0.1)
    assert latencies[-1] < 0.25


def test_later_begin_leaves_out_earlier_flights_and_their_labels(flights: duckdb.DuckDBPyConnection) -> None:
    begin = ORIGIN + 20
    play = stream(flights, begin)
    ids = {r["id"] for r in records(play.predictions(ORIGIN + 80, ()))}
    assert {r["id"] for r in records(play.labels(ORIGIN + 80, ()))} < ids


def test_year_starts_again_with_fresh_ids(flights: duckdb.DuckDBPyConnection) -> None:
    play = stream(flights)
    rows = records(play.predictions(ORIGIN + 89, ()) + play.predictions(ORIGIN + 130, ()))
    labels = records(play.labels(ORIGIN + 130, ()))
    assert play.laps == 2
    keys = [(r["id"], r["version"]) for r in rows]
    assert len(set(keys)) == len(keys)
    assert any(r["id"].endswith("-run.1") for r in rows)
    assert [r["ts"] for r in rows] == sorted(r["ts"] for r in rows)
    # The last flights of the first lap land after the second has begun.
    assert any(r["id"].endswith("-run") and r["ts"] > logs.stamp(ORIGIN + 90) for r in labels)
    assert any(r["id"].endswith("-run.1") for r in labels)


def test_no_flights_after_the_start_is_an_error(june: Path) -> None:
    with pytest.raises(ValueError, match="no flight"):
        replay.load(june, replay.day_ms(date(2014, 6, 1)))


def broken(flights: duckdb.DuckDBPyConnection, fault: str) -> list[dict[str, Any]]:
    return records(stream(flights).predictions(ORIGIN + 30, {fault}))


def test_missing(flights: duckdb.DuckDBPyConnection) -> None:
    rows = broken(flights, "missing")
    share = sum(r["features"]["mean_dep_delay"] is None for r in rows) / len(rows)
    assert 0.75 < share < 0.9


def test_shift(flights: duckdb.DuckDBPyConnection) -> None:
    clean = records(stream(flights).predictions(ORIGIN + 30, ()))
    moved = [r["features"]["distance"] for r in broken(flights, "shift")]
    assert moved == [r["features"]["distance"] + 3000 for r in clean]


def test_unseen_category(flights: duckdb.DuckDBPyConnection) -> None:
    rows = broken(flights, "unseen-category")
    assert 0.2 < sum(r["features"]["carrier"] == "XX" for r in rows) / len(rows) < 0.4


def test_schema(flights: duckdb.DuckDBPyConnection) -> None:
    features = [r["features"] for r in broken(flights, "schema")]
    assert all("hour" not in f and isinstance(f["scheduled_hour"], int) for f in features)
    assert {type(f["visib"]) for f in features} <= {str, type(None)}
    assert any(str(f["visib"]).endswith(" miles") for f in features)


def test_latency(flights: duckdb.DuckDBPyConnection) -> None:
    slow = [r["latency_s"] > 0.25 for r in broken(flights, "latency")]
    assert sum(slow) / len(slow) > 0.8


def test_errors(flights: duckdb.DuckDBPyConnection) -> None:
    rows = broken(flights, "errors")
    failed = [r for r in rows if "error" in r]
    assert 0.2 < len(failed) / len(rows) < 0.4
    assert not any("score" in r for r in failed)


def test_flip(flights: duckdb.DuckDBPyConnection) -> None:
    clean = records(stream(flights).labels(ORIGIN + 30, ()))
    flipped = records(stream(flights).labels(ORIGIN + 30, {"flip"}))
    assert flipped == [{**r, "label": not r["label"]} for r in clean]


def test_label_stop_holds_labels_back(flights: duckdb.DuckDBPyConnection) -> None:
    play = stream(flights)
    clean = stream(flights).labels(ORIGIN + 40, ())
    assert play.labels(ORIGIN + 30, {"label-stop"}) == []
    assert play.labels(ORIGIN + 40, ()) == clean


def test_label_delay_makes_labels_and_stamps_later(flights: duckdb.DuckDBPyConnection) -> None:
    play = stream(flights)
    assert play.labels(ORIGIN + 59, {"label-delay"}) == []
    late = records(play.labels(ORIGIN + 90, {"label-delay"}))
    clean = records(stream(flights).labels(ORIGIN + 30, ()))
    assert [r["id"] for r in late] == [r["id"] for r in clean]
    assert all(r["ts"] >= logs.stamp(ORIGIN + 60) for r in late)


def test_traffic_stop_loses_predictions(flights: duckdb.DuckDBPyConnection) -> None:
    play = stream(flights)
    assert play.predictions(ORIGIN + 30, {"traffic-stop"}) == []
    assert min(r["ts"] for r in records(play.predictions(ORIGIN + 60, ()))) >= logs.stamp(ORIGIN + 30)


def test_garbage_lines_come_beside_the_good_ones(flights: duckdb.DuckDBPyConnection) -> None:
    clean = stream(flights).predictions(ORIGIN + 30, ())
    lines = stream(flights).predictions(ORIGIN + 30, {"garbage-lines"})
    assert [line for line in lines if line not in faults.GARBAGE] == clean
    assert set(lines) > set(faults.GARBAGE)


def test_every_fault_is_one_of_records_or_streams() -> None:
    assert len(set(faults.FAULTS)) == len(faults.FAULTS) == 11
    record: faults.Record = {"features": {}}
    faults.break_record(record, faults.STREAM_FAULTS, random.Random(0))
    assert record == {"features": {}}


@pytest.mark.parametrize(
    ("text", "known", "unknown"),
    [
        ("", set(), []),
        ("none\n", set(), []),
        ("shift\n\n flip \n", {"shift", "flip"}, []),
        ("shfit\nflip", {"flip"}, ["shfit"]),
    ],
)
def test_fault_file(text: str, known: Collection[str], unknown: list[str]) -> None:
    assert faults.parse_faults(text) == (frozenset(known), unknown)
