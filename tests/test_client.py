"""The client's log: whole lines from threads, processes and forks over rotations, which the exporter reads."""

from __future__ import annotations

import json
import logging
import multiprocessing
import os
import subprocess
import sys
import threading
import time
from datetime import UTC, datetime
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import pytest
from tests.support.site import Site

from ml_exporter.client import LabelLogger, PredictionLogger

PROCESSES, THREADS = 3, 3


def lines_of(path: Path) -> list[dict[str, Any]]:
    files = sorted(path.parent.glob(f"{path.name}*"), key=lambda file: file.name, reverse=True)
    return [json.loads(line) for file in files for line in file.read_text().splitlines()]


def write_in_threads(folder: str, process: int, lines: int, max_bytes: int) -> None:
    """Predictions and their labels, each line by one of some threads that share two loggers."""
    predictions = PredictionLogger(f"{folder}/p.jsonl", max_bytes=max_bytes, backups=400, strict=True)
    labels = LabelLogger(f"{folder}/l.jsonl", max_bytes=max_bytes, backups=400, strict=True)

    def write(thread: int) -> None:
        for number in range(lines):
            own = f"{process}-{thread}-{number}"
            predictions.log(id=own, score=0.25, features={"text": "x" * (number % 90)})
            labels.log(own, number % 2 == 0)

    threads = [threading.Thread(target=write, args=(thread,)) for thread in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def client_site(folder: Path, maturity: str = "0s") -> Site:
    site = Site(folder)
    site.models[0] |= {
        "predictions": {"path": "p.jsonl", "preset": "ml_exporter"},
        "labels": {"path": "l.jsonl", "preset": "ml_exporter", "maturity": maturity, "wait": "1h"},
    }
    return site


@pytest.mark.parametrize(
    ("lines", "max_bytes"), [(100, 12_000), pytest.param(2_000, 60_000, marks=pytest.mark.long)]
)
def test_the_exporter_follows_many_writers_and_loses_nothing(
    tmp_path: Path, lines: int, max_bytes: int
) -> None:
    every = {"accepted": PROCESSES * THREADS * lines}
    site = client_site(tmp_path, maturity="1m")
    context = multiprocessing.get_context("spawn")
    writers = [
        context.Process(target=write_in_threads, args=(str(tmp_path), number, lines, max_bytes))
        for number in range(PROCESSES)
    ]
    engine = site.engine()
    engine.clock = time.time
    for writer in writers:
        writer.start()
    while any(writer.is_alive() for writer in writers):
        engine.cycle()
    assert [writer.exitcode for writer in writers] == [0] * PROCESSES
    while engine.cycle().behind:
        pass
    engine.clock = lambda: time.time() + 120
    accounts = engine.cycle().reports[0][0].accounts
    engine.store.close()
    assert len(list(tmp_path.glob("p.jsonl.*"))) > 5
    assert {name: count for name, count in accounts.lines["predictions"].items() if count} == every
    assert {name: count for name, count in accounts.lines["labels"].items() if count} == every
    # An id that is there once for each label is one that is there once.
    assert {name: count for name, count in accounts.labels.items() if count} == {"matched": every["accepted"]}


def test_lines_are_whole_and_in_order_over_rotations(tmp_path: Path) -> None:
    path = tmp_path / "logs/p.jsonl"
    log = PredictionLogger(path, version="3", max_bytes=500, backups=100)
    for number in range(100):
        log.log(id=number, score=0.5)
    assert [line["id"] for line in lines_of_rotated(path)] == list(range(100))
    assert {line["version"] for line in lines_of_rotated(path)} == {"3"}
    assert max(file.stat().st_size for file in path.parent.glob("p.jsonl*")) < 700


def lines_of_rotated(path: Path) -> list[dict[str, Any]]:
    """Lines of PATH.N, oldest first, then of PATH."""
    old = sorted(path.parent.glob(f"{path.name}.*"), key=lambda file: -int(file.suffix[1:]))
    return [json.loads(line) for file in (*old, path) for line in file.read_text().splitlines()]


def test_only_so_many_rotated_files_are_kept(tmp_path: Path) -> None:
    path = tmp_path / "p.jsonl"
    log = PredictionLogger(path, max_bytes=200, backups=2)
    for number in range(50):
        log.log(id=number)
    assert sorted(file.name for file in tmp_path.glob("p*")) == ["p.jsonl", "p.jsonl.1", "p.jsonl.2"]
    assert lines_of_rotated(path)[-1]["id"] == 49


def test_a_file_that_was_rotated_or_removed_by_others_is_opened_again(tmp_path: Path) -> None:
    path = tmp_path / "p.jsonl"
    log = PredictionLogger(path)
    log.log(id=1)
    path.rename(tmp_path / "p.jsonl.1")
    log.log(id=2)
    path.unlink()
    log.log(id=3)
    log.close()
    log.log(id=4)
    assert [line["id"] for line in lines_of_rotated(path)] == [1, 3, 4]


def test_what_a_record_holds(tmp_path: Path) -> None:
    path = tmp_path / "p.jsonl"
    log = PredictionLogger(path)
    before = time.time()
    made = log.log(
        score=np.float32(0.5),
        prediction=np.int64(1),
        features={
            "when": datetime(2026, 1, 2, tzinfo=UTC),
            "list": np.array([1, 2]),
            "path": Path("x"),
            "text": "a\nb\u2028\ud800é",
            "none": None,
        },
        latency_seconds=0.1,
        error="late",
        label=True,
    )
    log.log(id=7, timestamp=5.0, score={"a": 0.2, "b": 0.8})
    first, second = lines_of(path)
    assert isinstance(made, str)
    assert len(made) == 32
    assert before <= first.pop("timestamp") <= time.time()
    assert first == {
        "id": made,
        "score": 0.5,
        "prediction": 1,
        "features": {
            "when": "2026-01-02T00:00:00+00:00",
            "list": [1, 2],
            "path": "x",
            "text": "a\nb\u2028\ud800é",
            "none": None,
        },
        "latency_seconds": 0.1,
        "error": "late",
        "label": True,
    }
    assert second == {"id": 7, "timestamp": 5.0, "score": {"a": 0.2, "b": 0.8}}


class Odd:
    """A value whose own methods fail."""

    def tolist(self) -> object:
        raise RuntimeError("not now")


@pytest.mark.parametrize(
    ("keys", "found"),
    [
        (np.array([0, 1]), ["0", "1"]),
        (np.array([False, True]), ["false", "true"]),
        (np.array([0.5, 1.5], np.float32), ["0.5", "1.5"]),
        (np.array(["no", "yes"]), ["no", "yes"]),
        (np.array(["2026-01-02", "2026-01-03"], "datetime64[D]"), ["2026-01-02", "2026-01-03"]),
        ([("a", 1), ("b", 2)], ["('a', 1)", "('b', 2)"]),
    ],
)
def test_classes_of_any_kind_can_be_keys(tmp_path: Path, keys: Any, found: list[str]) -> None:
    path = tmp_path / "p.jsonl"
    log = PredictionLogger(path, strict=True)
    log.log(id=1, score=dict(zip(keys, np.array([0.25, 0.75]), strict=True)), features={"a": [{keys[0]: 1}]})
    (line,) = lines_of(path)
    assert line["score"] == dict(zip(found, [0.25, 0.75], strict=True))
    assert line["features"] == {"a": [{found[0]: 1}]}


def test_a_mapping_of_any_kind_is_an_object(tmp_path: Path) -> None:
    path = tmp_path / "p.jsonl"
    log = PredictionLogger(path, strict=True)
    log.log(id=1, score=MappingProxyType({"a": 0.25, np.int64(1): 0.75}))
    assert lines_of(path)[0]["score"] == {"a": 0.25, "1": 0.75}


def test_what_cannot_be_json_fails_no_prediction(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    circle: dict[str, object] = {}
    circle["own"] = circle
    path = tmp_path / "p.jsonl"
    log, labels = PredictionLogger(path), LabelLogger(path)
    wrong = [circle, {np.int64(1): circle}, {"a": Odd()}, {Odd(): 1}]
    with caplog.at_level(logging.WARNING):
        for number, features in enumerate(wrong, start=1):
            log.log(features=features)
            assert log.lost == number
        log.log(id="whole")
        labels.log("a", circle)
    assert labels.lost == 1
    assert len(caplog.records) == 2
    assert [line["id"] for line in lines_of(path)] == ["whole"]
    strict = PredictionLogger(path, strict=True)
    for features, error in zip(wrong, (ValueError, RecursionError, RuntimeError, RuntimeError), strict=True):
        with pytest.raises(error):
            strict.log(features=features)


IDS = """
import os, sys
from concurrent.futures import ThreadPoolExecutor
from ml_exporter.client import PredictionLogger

log = PredictionLogger(sys.argv[1], strict=True)
log.log()
children = []
for _ in range(3):
    child = os.fork()
    if not child:
        with ThreadPoolExecutor(4) as threads:
            list(threads.map(lambda _: log.log(), range(200)))
        os._exit(0)
    children.append(child)
log.log()
print(*(os.waitpid(child, 0)[1] for child in children))
"""


def test_default_ids_are_those_of_no_other_thread_child_or_run(tmp_path: Path) -> None:
    path = tmp_path / "p.jsonl"
    for _ in range(2):
        done = subprocess.run(
            [sys.executable, "-c", IDS, str(path)], capture_output=True, text=True, timeout=60, check=True
        )
        assert done.stdout == "0 0 0\n"
    ids = [line["id"] for line in lines_of(path)]
    assert len(set(ids)) == len(ids) == 2 * (2 + 3 * 200)
    assert {len(own) for own in ids} == {32}
    # What is random is another for each process, and no part of it counts.
    assert len({own[:24] for own in ids}) == 2 * 4


def test_a_default_id_costs_little_beside_its_line(tmp_path: Path) -> None:
    """In CPU time, the best of many short runs of each in turn, so that what else runs here is no matter."""
    log = PredictionLogger(tmp_path / "p.jsonl", version="3")
    record = {"score": 0.82, "features": {"age": 41, "plan": "pro"}, "latency_seconds": 0.012}
    given = "0" * 32
    best = {"default": float("inf"), "given": float("inf")}
    for _ in range(40):
        for kind, own in (("default", None), ("given", given)):
            begun = time.thread_time()
            for _ in range(500):
                log.log(id=own, **record)
            best[kind] = min(best[kind], time.thread_time() - begun)
    # 1.03; with one of uuid's 1.25.
    assert best["default"] < 1.12 * best["given"]


def test_a_log_that_cannot_be_written_fails_no_prediction(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("")
    log = PredictionLogger(tmp_path / "file/p.jsonl")
    with caplog.at_level(logging.WARNING):
        log.log(id=1)
        log.log(id=2)
    assert log.lost == 2
    assert len(caplog.records) == 1
    with pytest.raises(OSError, match="file"):
        PredictionLogger(tmp_path / "file/p.jsonl", strict=True).log(id=1)


def test_a_full_disk_leaves_no_line_that_runs_into_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "p.jsonl"
    log = LabelLogger(path)
    write = os.write
    monkeypatch.setattr(os, "write", lambda descriptor, data: write(descriptor, data[:10]))
    log.log("a", 1)
    monkeypatch.undo()
    log.log("b", 0)
    log.close()
    assert log.lost == 1
    broken, whole = path.read_text().splitlines()
    assert len(broken) == 10
    assert json.loads(whole)["id"] == "b"


def test_a_child_writes_though_a_thread_of_its_parent_held_the_lock(tmp_path: Path) -> None:
    program = """
import os, sys
from ml_exporter.client import PredictionLogger
log = PredictionLogger(sys.argv[1])
log.log(id=1)
with log._lines._lock:
    child = os.fork()
    if not child:
        log.log(id=2)
        os._exit(0)
    print(os.waitpid(child, 0)[1])
"""
    path = tmp_path / "p.jsonl"
    done = subprocess.run(
        [sys.executable, "-c", program, str(path)], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout == "0\n"
    assert [line["id"] for line in lines_of(path)] == [1, 2]


def test_importing_it_needs_the_standard_library_alone() -> None:
    program = (
        "import sys; import ml_exporter.client; print(*sorted({name.split('.')[0] for name in sys.modules}))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True
    )
    foreign = {name for name in done.stdout.split() if not name.startswith("__")} - sys.stdlib_module_names
    assert {name for name in foreign if name[0] != "_"} <= {"ml_exporter", "sitecustomize"}


@pytest.mark.parametrize("changes", [{"max_bytes": 0}, {"backups": 0}])
def test_sizes_without_a_meaning_are_refused(tmp_path: Path, changes: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="at least 1"):
        PredictionLogger(tmp_path / "p.jsonl", **changes)
