"""The file of rejected records: what is in it, who may read it, how large it gets."""

import json
import os
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tests.support.site import Site, label, model, prediction, stamp

from ml_exporter.sources import dead_letters
from ml_exporter.sources.dead_letters import DeadLetters
from ml_exporter.sources.outcomes import Letter
from ml_exporter.store import Store


def letters(path: Path) -> list[dict[str, Any]]:
    files = [file for file in (Path(f"{path}.1"), path) if file.exists()]
    return [json.loads(line) for file in files for line in file.read_text(encoding="ascii").splitlines()]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "deep" / "rejected.jsonl"


def test_rejected_records_are_kept_with_their_reasons(tmp_path: Path) -> None:
    site = Site(tmp_path, [model(dead_letter={"path": "rejected/letters.jsonl"})])
    site.exporter["line_limit"] = 1024
    site.predict(prediction(1, 1), {"id": 7}, prediction(2, 1, note="x" * 2000), prediction(3, 1))
    site.label(label(1, 2), {"id": "id-1", "ts": stamp(3), "label": "perhaps"})
    with (tmp_path / "flight-delay-predictions.jsonl").open("ab") as file:
        file.write(b'{bad "\xff\0\n[1, "\xc3\xa9"]\n')
    site.now = 10
    engine = site.engine()
    engine.cycle()
    engine.cycle()
    found = letters(tmp_path / "rejected" / "letters.jsonl")
    assert [(item["source"], item["reason"], item["line"]) for item in found] == [
        ("labels", "bad_label", json.dumps({"id": "id-1", "ts": stamp(3), "label": "perhaps"})),
        ("predictions", "no_timestamp", '{"id": 7}'),
        ("predictions", "malformed", '{bad "\\xff\0'),
        ("predictions", "not_an_object", '[1, "é"]'),
        ("predictions", "too_long", ""),
    ]
    assert {item["model"] for item in found} == {"flight-delay"}
    assert {Path(item["file"]).name for item in found} == {
        "flight-delay-predictions.jsonl",
        "flight-delay-labels.jsonl",
    }
    assert found[0]["time"] == stamp(10).replace(".000", "")


@pytest.mark.parametrize("form", ["csv", "parquet"])
def test_records_of_other_formats_are_kept_too(tmp_path: Path, form: str) -> None:
    own = model(dead_letter={"path": "letters"})
    own["predictions"] = {"path": f"log.{form}", "format": form, "fields": own["predictions"]["fields"]}
    site = Site(tmp_path, [own])
    if form == "csv":
        (tmp_path / "log.csv").write_text(f'id,ts\na,{stamp(1)}\n"b\nb",soon\nonly one\n')
    else:
        pq.write_table(pa.table({"id": ["a", "b\nb"], "ts": [stamp(1), "soon"]}), tmp_path / "log.parquet")
    site.now = 10
    site.engine().cycle()
    found = [(item["reason"], item["line"]) for item in letters(tmp_path / "letters")]
    if form == "csv":
        assert found == [("bad_timestamp", '"b\nb",soon'), ("malformed", "only one\n")]
    else:
        ((reason, line),) = found
        assert (reason, json.loads(line)["id"]) == ("bad_timestamp", "b\nb")


def test_evaluate_writes_none(tmp_path: Path) -> None:
    site = Site(tmp_path, [model(dead_letter={"path": "letters"})])
    site.predict({"id": 7})
    site.engine(Store(None)).run_once(None)
    assert not (tmp_path / "letters").exists()


def test_a_cycle_that_fails_writes_none_and_the_next_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = Site(tmp_path, [model(dead_letter={"path": "letters"})])
    site.predict({"id": 7})
    engine = site.engine()
    with monkeypatch.context() as patch:
        patch.setattr(Store, "save_documents", lambda *_: 1 / 0)
        for _ in range(3):
            with pytest.raises(ZeroDivisionError):
                engine.cycle()
    assert not (tmp_path / "letters").exists()
    engine.cycle()
    assert len(letters(tmp_path / "letters")) == 1


def test_only_the_owner_may_read_it(path: Path) -> None:
    path.parent.mkdir()
    path.touch(0o644)
    file = DeadLetters("m", path, 1000)
    file.add("labels", "log", 0, [Letter("malformed", b"x" * 50)] * 20)
    file.flush()
    assert [item.stat().st_mode & 0o777 for item in path.parent.iterdir()] == [0o600, 0o600]


@pytest.mark.parametrize("limit", [0, 1, 500, 10_000])
def test_it_stays_bounded(path: Path, monkeypatch: pytest.MonkeyPatch, limit: int) -> None:
    monkeypatch.setattr(dead_letters, "_BUFFER", 3000)
    file = DeadLetters("m", path, limit)
    for number in range(300):
        file.add("labels", "log", 0, [Letter("malformed", b"\xff\0" * 1000), Letter("no_id", b"%d" % number)])
        if number % 7 == 0:
            file.flush()
    file.flush()
    assert file.problem == ""
    sizes = [item.stat().st_size for item in path.parent.iterdir()]
    assert len(sizes) == 2
    # A line is never cut, so there is one even where the limit allows none.
    assert max(sizes) <= max(limit, 250)
    found = letters(path)
    assert found[-1]["reason"] == "no_id"
    if limit == 10_000:
        assert found[-1]["line"] == "299"


def test_it_does_not_follow_a_link_and_says_why(path: Path) -> None:
    path.parent.mkdir()
    other = path.with_name("other")
    other.touch()
    path.symlink_to(other)
    file = DeadLetters("m", path, 1000)
    file.add("labels", "log", 0, [Letter("malformed", b"x")])
    file.flush()
    assert other.stat().st_size == 0
    assert file.problem == f"{path}: {os.strerror(40)}"
    path.unlink()
    file.add("labels", "log", 0, [Letter("malformed", b"x")])
    file.flush()
    assert file.problem == ""
    assert len(letters(path)) == 1


def test_the_snapshot_tells_what_could_not_be_written(tmp_path: Path) -> None:
    site = Site(tmp_path, [model(dead_letter={"path": "folder"})])
    (tmp_path / "folder").mkdir()
    site.predict({"id": 7})
    snapshot = site.engine().cycle()
    assert snapshot.unwritten == (f"{tmp_path / 'folder'}: Is a directory",)
    assert snapshot.reports[0][1].outcomes["predictions"] == {"no_timestamp": 1}
