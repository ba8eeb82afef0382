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
from log_shapes import SHAPES, Shape

START_MS = replay.day_ms(date(2013, 4, 1))
ORIGIN = 1_800_000_000.0
DAY_SECONDS = 30.0
LATE, MINUTES, OUTCOME = SHAPES
each_model = pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: str(shape.model))


@pytest.fixture(scope="module")
def flights(june: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    with replay.load(june, START_MS) as connection:
        yield connection


def stream(flights: duckdb.DuckDBPyConnection, begin: float = ORIGIN, shape: Shape = LATE) -> replay.Replay:
    start = replay.day_ms(date(2013, 6, 30))
    return replay.Replay(flights, shape, start, DAY_SECONDS, ORIGIN, begin, "run")


def records(lines: list[str]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in lines]


def test_clock_and_back() -> None:
    lap = replay.Lap(START_MS, ORIGIN, DAY_SECONDS, "run", START_MS)
    assert lap.wall(START_MS + replay.DAY_MS) == ORIGIN + 30
    assert lap.simulated(ORIGIN + 15) == START_MS + replay.DAY_MS // 2


@pytest.mark.parametrize(
    ("shape", "answer", "kind"),
    [
        (LATE, ["score", "prediction"], bool),
        (MINUTES, ["prediction", "lower", "upper"], float),
        (OUTCOME, ["scores", "prediction"], str),
    ],
    ids=lambda value: getattr(value, "model", None),
)
def test_record_is_that_of_a_model_server(
    flights: duckdb.DuckDBPyConnection, shape: Shape, answer: list[str], kind: type
) -> None:
    record = records(stream(flights, shape=shape).predictions(ORIGIN + 60, ()))[0]
    assert list(record) == ["id", "ts", "version", *answer, "latency_s", "features"]
    assert record["ts"] == "2027-01-15T08:00:00.000Z"
    assert record["id"].startswith("2013-06-29-")
    assert record["id"].endswith("-run")
    assert type(record["prediction"]) is kind


@each_model
def test_ticks_give_what_one_look_gives(flights: duckdb.DuckDBPyConnection, shape: Shape) -> None:
    at_once, ticking = stream(flights, shape=shape), stream(flights, shape=shape)
    times = [ORIGIN + 1.7 * tick for tick in range(1, 25)]
    assert at_once.predictions(times[-1], ()) == [line for t in times for line in ticking.predictions(t, ())]
    assert at_once.labels(times[-1], ()) == [line for t in times for line in ticking.labels(t, ())]


@each_model
def test_labels_meet_their_predictions_later(flights: duckdb.DuckDBPyConnection, shape: Shape) -> None:
    play = stream(flights, shape=shape)
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


@each_model
def test_few_requests_fail_without_an_answer(flights: duckdb.DuckDBPyConnection, shape: Shape) -> None:
    rows = records(stream(flights, shape=shape).predictions(ORIGIN + 90, ()))
    failed = [r for r in rows if "error" in r]
    assert 0 < len(failed) < len(rows) / 200
    assert not any(shape.answer.keys() & r for r in failed)
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


def test_each_model_has_its_own_latencies_and_failures(flights: duckdb.DuckDBPyConnection) -> None:
    rows = [
        {r["id"]: r for r in records(stream(flights, shape=shape).predictions(ORIGIN + 30, ()))}
        for shape in SHAPES
    ]
    assert rows[0].keys() == rows[1].keys() == rows[2].keys()
    for a, b in ((0, 1), (0, 2), (1, 2)):
        same = [rows[a][key]["latency_s"] == rows[b][key]["latency_s"] for key in rows[0]]
        assert sum(same) < len(same) / 50


def test_no_flights_after_the_start_is_an_error(june: Path) -> None:
    with pytest.raises(ValueError, match="no flight"):
        replay.load(june, replay.day_ms(date(2014, 6, 1)))


def broken(flights: duckdb.DuckDBPyConnection, fault: str, shape: Shape = LATE) -> list[dict[str, Any]]:
    return records(stream(flights, shape=shape).predictions(ORIGIN + 30, {fault}))


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


@each_model
def test_errors(flights: duckdb.DuckDBPyConnection, shape: Shape) -> None:
    rows = broken(flights, "errors", shape)
    failed = [r for r in rows if "error" in r]
    assert 0.2 < len(failed) / len(rows) < 0.4
    assert not any(shape.answer.keys() & r for r in failed)


@pytest.mark.parametrize("fault", faults.RECORD_FAULTS)
@each_model
def test_what_happens_to_records_happens_to_every_model(
    flights: duckdb.DuckDBPyConnection, shape: Shape, fault: str
) -> None:
    clean = records(stream(flights, shape=shape).predictions(ORIGIN + 30, ()))
    rows = broken(flights, fault, shape)
    assert [r["id"] for r in rows] == [r["id"] for r in clean]
    assert sum(row != was for row, was in zip(rows, clean, strict=True)) > len(rows) / 5


def flipped(flights: duckdb.DuckDBPyConnection, shape: Shape) -> list[tuple[Any, Any]]:
    clean = records(stream(flights, shape=shape).labels(ORIGIN + 60, ()))
    after = records(stream(flights, shape=shape).labels(ORIGIN + 60, {"flip"}))
    assert [(r["id"], r["ts"]) for r in after] == [(r["id"], r["ts"]) for r in clean]
    return [(was["label"], now["label"]) for was, now in zip(clean, after, strict=True)]


def test_flip(flights: duckdb.DuckDBPyConnection) -> None:
    assert set(flipped(flights, LATE)) == {(True, False), (False, True)}
    assert set(flipped(flights, OUTCOME)) == {
        ("on_time", "late"),
        ("late", "on_time"),
        ("cancelled", "cancelled"),
    }
    minutes = flipped(flights, MINUTES)
    assert len(minutes) > 1000
    assert all(was + now == faults.MIRROR_MINUTES for was, now in minutes)


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
