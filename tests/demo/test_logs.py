"""The demo's log files: stamps, rotation, restarts."""

from pathlib import Path

import logs

APRIL = 1_364_774_400.0


def test_stamps_are_rfc_3339_in_milliseconds() -> None:
    assert logs.stamp(APRIL + 0.0004) == "2013-04-01T00:00:00.000Z"
    assert logs.stamp(APRIL + 0.9996) == "2013-04-01T00:00:01.000Z"


def test_log_rotates_by_size_and_keeps_five(tmp_path: Path) -> None:
    log = logs.RotatedLog(tmp_path / "x.jsonl", 40)
    for number in range(9):
        log.append([f"{number}" * 30])
    assert (tmp_path / "x.jsonl").read_text() == "8" * 30 + "\n"
    assert [(tmp_path / f"x.jsonl.{n}").read_text()[0] for n in range(1, 6)] == ["7", "6", "5", "4", "3"]
    assert len(list(tmp_path.iterdir())) == 6


def test_log_ends_a_cut_line(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    path.write_text('{"id": "a", "ts": "2013-04-01T00:00:00.000Z"}\n{"id": "b", "t')
    log = logs.RotatedLog(path, 1000)
    log.append(['{"id": "c"}'])
    assert path.read_text().splitlines()[1:] == ['{"id": "b", "t', '{"id": "c"}']
    assert log.last_stamp() == APRIL


def test_log_finds_its_last_stamp_in_the_rotated_file(tmp_path: Path) -> None:
    (tmp_path / "x.jsonl.1").write_text('{"ts": "2013-04-01T00:00:00.000Z"}\n["no"]\n')
    assert logs.RotatedLog(tmp_path / "x.jsonl", 1000).last_stamp() == APRIL
    assert logs.RotatedLog(tmp_path / "y.jsonl", 1000).last_stamp() is None


def test_log_appears_at_once_and_leaves_nothing_beside(tmp_path: Path) -> None:
    logs.RotatedLog(tmp_path / "x.jsonl", 1000).create(["a", "b"])
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("x.jsonl", "a\nb\n")]
