"""That the soak notices what it is there for, and that it runs."""

from __future__ import annotations

from pathlib import Path

import psutil
import pytest
from tests.bench.soak import Life, judge, quarters, rotate, run

MATCHED = 'ml_labels_total{model="soak",outcome="matched"}'
LOG = 'ts=… level=info msg="configuration loaded"\n'


def life(folder: Path, memory: list[float], files: list[float]) -> Life:
    found = Life(0, psutil.Process(), folder)
    found.counts["labels"] = 5
    found.looks = [
        {"resident memory, MB": one, "open files": other} for one, other in zip(memory, files, strict=True)
    ]
    return found


@pytest.mark.parametrize(
    ("memory", "files", "page", "log", "problem"),
    [
        ([100, 200, 201, 202], [9] * 4, {}, LOG, ""),
        ([100, 200, 230, 260], [9] * 4, {}, LOG, "memory: 200 MB in the second quarter, 260 MB in the last"),
        ([100] * 4, [9, 9, 12, 15], {}, LOG, "open files: 9 in the second quarter, 15 in the last"),
        ([100] * 4, [9] * 4, {'ml_exporter_errors_total{area="push"}': 1.0}, LOG, "ml_exporter_errors_total"),
        ([100] * 4, [9] * 4, {MATCHED: 4.0}, LOG, "labels that met their prediction: 4.0, not 5"),
        ([100] * 4, [9] * 4, {}, LOG + "ts=… level=warning msg=odd\n", "complaints in the log"),
    ],
)
def test_what_is_wrong_is_noticed(
    tmp_path: Path, memory: list[float], files: list[float], page: dict[str, float], log: str, problem: str
) -> None:
    found = life(tmp_path, memory, files)
    judge(found, {MATCHED: 5.0, **page}, log, minutes=60)
    assert len(found.problems) == bool(problem)
    assert all(text.startswith(problem) for text in found.problems)


def test_quarters_are_those_of_the_time() -> None:
    looks = [{"a": float(number)} for number in range(40)]
    assert quarters(looks, "a") == (14.5, 34.5)


def test_logs_are_renamed_in_turn(tmp_path: Path) -> None:
    log = tmp_path / "log"
    found = life(tmp_path, [], [])
    for number in range(6):
        log.write_text(str(number), encoding="utf-8")
        rotate(log, found)
    names = {path.name: path.read_text(encoding="utf-8") for path in tmp_path.iterdir()}
    assert names == {"log.1": "5", "log.2": "4", "log.3": "3"}


@pytest.mark.long
@pytest.mark.timeout(900)
def test_a_short_one_finds_nothing_wrong(tmp_path: Path) -> None:
    assert run(tmp_path / "soak", minutes=1.2, rate=300) == []
