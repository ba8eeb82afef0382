"""The demo's traffic as a program: its logs, restarts, faults on request, the dump, its command line."""

import json
import os
import signal
import subprocess
import sys
import time
from datetime import date
from pathlib import Path
from typing import Any

import duckdb
import dump
import logs
import pytest
import traffic
from log_shapes import MODELS, SHAPES

START = date(2013, 4, 1)
ORIGIN = 1_800_000_000.0
DAY_SECONDS = 30.0


def read(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def options(june: Path, folder: Path, *more: str) -> list[str]:
    day = ["--start", "2013-06-30", "--backdate-days", "1"]
    return ["--dir", str(folder), "--data", str(june), *day, *more]


def test_backlog_then_ticks(june: Path, tmp_path: Path) -> None:
    args = traffic.parser().parse_args(options(june, tmp_path))
    now = ORIGIN + DAY_SECONDS
    server = traffic.Traffic(args, now)
    written = server.backlog(now)
    rows = [len(read(shape.logs(tmp_path)[0])) for shape in SHAPES]
    assert written == sum(rows)
    assert min(rows) > 800
    assert read(tmp_path / "predictions.jsonl")[0]["ts"] >= logs.stamp(ORIGIN)
    server.tick(now + 20)
    assert logs.stamp(now) < read(tmp_path / "predictions.jsonl")[-1]["ts"] < logs.stamp(now + 20)
    assert logs.stamp(now) < read(tmp_path / "labels.jsonl")[-1]["ts"] < logs.stamp(now + 20)


def test_restart_goes_on_and_repeats_no_id(june: Path, tmp_path: Path) -> None:
    args = traffic.parser().parse_args(options(june, tmp_path))
    for now in (ORIGIN + DAY_SECONDS, ORIGIN + DAY_SECONDS + 15):
        traffic.Traffic(args, now).backlog(now)
    for shape in SHAPES:
        rows, labels = map(read, shape.logs(tmp_path))
        assert [r["ts"] for r in rows] == sorted(r["ts"] for r in rows)
        assert len({(r["id"], r["version"]) for r in rows}) == len(rows) > 1000
        assert {r["id"] for r in labels} <= {r["id"] for r in rows}


def test_only_the_chosen_models_are_played(june: Path, tmp_path: Path) -> None:
    args = traffic.parser().parse_args(options(june, tmp_path, "--model", "delay-minutes"))
    traffic.Traffic(args, ORIGIN).backlog(ORIGIN)
    assert [path.name for path in tmp_path.iterdir()] == ["delay-minutes"]


def test_what_stops_was_there_before(june: Path, tmp_path: Path) -> None:
    flags = ["--fault", "label-stop", "--fault", "traffic-stop"]
    args = traffic.parser().parse_args(options(june, tmp_path, *flags))
    now = ORIGIN + DAY_SECONDS
    server = traffic.Traffic(args, now)
    server.backlog(now)
    logs_written = [log for shape in SHAPES for log in shape.logs(tmp_path)]
    before = [log.stat().st_size for log in logs_written]
    server.tick(now + 20)
    assert [log.stat().st_size for log in logs_written] == before
    assert all(before)


def test_fault_file_overrules_the_flags(
    june: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "fault"
    more = ["--fault", "flip", "--fault-file", str(file)]
    server = traffic.Traffic(traffic.parser().parse_args(options(june, tmp_path / "logs", *more)), ORIGIN)
    assert server.active() == {"flip"}
    file.write_text("shift\nshfit\n")
    assert server.active() == {"shift"}
    assert server.active() == {"shift"}
    assert capsys.readouterr().out.count("'shfit'") == 1
    file.write_text("none\n")
    assert server.active() == set()


def test_dump_is_the_year_as_it_was(june: Path, tmp_path: Path) -> None:
    counts = dump.write(june, tmp_path, date(2013, 7, 1), date(2013, 7, 2), MODELS)
    for shape in SHAPES:
        rows, labels = map(read, shape.logs(tmp_path))
        assert counts[shape.model] == (len(rows), len(labels))
        assert [r["ts"] for r in rows] == sorted(r["ts"] for r in rows)
        assert [r["ts"] for r in labels] == sorted(r["ts"] for r in labels)
        assert (rows[0]["ts"][:10], rows[-1]["ts"][:10]) == ("2013-07-01", "2013-07-01")
        assert not any("error" in r for r in rows)
        assert {r["id"] for r in labels} < {r["id"] for r in rows if r["version"] == "1"}
    written = {path for path in tmp_path.rglob("*") if path.is_file()}
    assert written == {log for shape in SHAPES for log in shape.logs(tmp_path)}


def test_dump_has_the_rows_of_the_data(june: Path, tmp_path: Path) -> None:
    dump.write(june, tmp_path, START, None, MODELS)
    score = "score::DOUBLE AS score"
    keys = f"id, ts::TIMESTAMPTZ AS ts, version, {score}, prediction, features.carrier, features.wind_speed"
    log = f"SELECT {keys} FROM read_json('{tmp_path}/predictions.jsonl')"
    query = f"SELECT count(*) FROM ((SELECT {keys} FROM '{june}') EXCEPT ({log}))"
    assert duckdb.execute(query).fetchone() == (0,)


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--fault", "earthquake"], "invalid choice"),
        (["--day-seconds", "0"], "not a positive number"),
        (["--since", "2013-05-01"], "go with --dump"),
        (["--labelled"], "go with --dump"),
        (["--model", "fares"], "invalid choice"),
        (["--dump", "x", "--fault", "flip"], "without faults"),
    ],
)
def test_bad_command_lines(argv: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        traffic.main(argv)
    assert message in capsys.readouterr().err


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_cleanly(june: Path, tmp_path: Path, number: signal.Signals) -> None:
    command = [sys.executable, traffic.__file__, *options(june, tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=os.environ) as process:
        assert process.stdout is not None
        assert "back-dated" in process.stdout.readline()
        time.sleep(0.1)
        process.send_signal(number)
        assert process.wait(timeout=30) == 0
        assert process.stdout.read() == "traffic: stopped\n"
    for log in (log for shape in SHAPES for log in shape.logs(tmp_path)):
        assert log.read_text().endswith("}\n")
