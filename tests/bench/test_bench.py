"""That the benchmark still runs, on a few thousand rows: its figures mean nothing here."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
import yaml
from tests.bench import contenders, figures, harness, peers, records, shapes

from ml_exporter import cli

ROWS = 2_000
_ACCEPTED = re.compile(r'ml_input_rows_total\{.*outcome="accepted".*source="predictions".*\} (\S+)')


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("bench")
    records.write(path, ROWS)
    return path


def unprofiled(config: Path) -> Path:
    """The same configuration without a profile, which would take longer to make than all else."""
    document = yaml.safe_load(config.read_text())
    for key in ("profile", "drift"):
        del document["models"][0][key]
    config.write_text(yaml.safe_dump(document))
    return config


def test_the_same_rows_are_written_in_every_form(folder: Path) -> None:
    names = ("nested.jsonl", "flat.jsonl", "bad.jsonl", "unlabelled.jsonl", "flat.csv", "labels.jsonl")
    lines = {name: (folder / name).read_text().splitlines() for name in names}
    assert [len(lines[name]) for name in names[:5]] == [ROWS, ROWS, ROWS, ROWS, ROWS + 1]
    assert 0.6 * ROWS < len(lines["labels.jsonl"]) < 0.8 * ROWS
    bad = [line for line in lines["bad.jsonl"] if not line.startswith('{"id":"request-')]
    assert len(bad) == ROWS // records.BAD_LINES


def test_a_long_log_has_the_form_of_a_short_one(folder: Path, tmp_path: Path) -> None:
    records.write_long(tmp_path, 100)
    long, short = ((path / "nested.jsonl").read_text().splitlines() for path in (tmp_path, folder))
    assert len(long) == 100
    assert len(long[0]) == pytest.approx(len(short[0]), abs=40)


@pytest.mark.parametrize(
    ("log", "form", "labels", "accepted"),
    [
        ("nested.jsonl", "jsonl", False, ROWS),
        ("bad.jsonl", "jsonl", False, ROWS - ROWS // records.BAD_LINES),
        ("unlabelled.jsonl", "jsonl", True, ROWS),
        ("flat.jsonl", "jsonl", False, ROWS),
        ("flat.csv", "csv", False, ROWS),
        ("flat.parquet", "parquet", False, ROWS),
    ],
)
def test_what_is_timed_counts_every_row(
    folder: Path, capsysbinary: pytest.CaptureFixture[bytes], log: str, form: str, labels: bool, accepted: int
) -> None:
    config = unprofiled(records.config(folder, log, form, labels))
    assert cli.main(["evaluate", "--config.file", str(config)]) == 0
    page = capsysbinary.readouterr().out.decode()
    assert [float(value) for value in _ACCEPTED.findall(page)] == [accepted]


def test_a_contender_reports_its_own_memory(folder: Path) -> None:
    ballast = b"x" * 300_000_000
    done = harness.run("json_loads", folder / "nested.jsonl")
    assert 20e6 < done["peak_bytes"] < len(ballast)
    assert 0 < done["seconds"] < 60


def test_the_yardstick_reads_the_nested_log(folder: Path) -> None:
    contenders.yardstick(folder / "nested.jsonl")


def test_an_evaluation_is_timed_on_full_windows(tmp_path: Path) -> None:
    done = contenders.cycle(shapes.write_features(tmp_path, 3, 700))
    # 6.5 days of 700 rows: the windows of 1d and 7d hold a day's and all rows, but for the panes at their ends.
    assert 700 + 90 < done["rows_in_windows"] < 700 + 125
    assert done["evaluation_seconds"] > 0
    assert (done["series"] > 50, done["dropped"]) == (True, 0)


def test_each_of_many_models_has_its_own_log(tmp_path: Path) -> None:
    made = tmp_path / "features-3-50"
    made.mkdir()
    for name in ("config.yml", "profile.json", "log.jsonl"):
        (made / name).write_text("x")
    config = yaml.safe_load(shapes.write_models(tmp_path, 4, 3, 50).read_text())
    logs = {model["predictions"]["path"] for model in config["models"]}
    assert len(logs) == len({model["name"] for model in config["models"]}) == 4
    assert all((tmp_path / "models-4-3-50" / log).exists() for log in logs)


def test_a_peer_that_cannot_be_installed_is_listed_with_its_error(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_folder: Path, peer: peers.Peer) -> Path:
        raise subprocess.CalledProcessError(1, "pip", stderr=f"looking\nERROR: no {peer.name} here\n")

    monkeypatch.setattr(peers, "environment", fail)
    monkeypatch.setattr(peers, "run", lambda *_: {"seconds": 2.0, "peak_bytes": 3e8})
    ours, *others = peers.measure(folder, folder, rows=ROWS, repeats=2)
    assert (ours["rows_per_second"], ours["times_ours"], ours["peak_mb"]) == (1000, 1.0, 300)
    assert [other["error"] for other in others] == [
        f"failed: ERROR: no {peer.name} here" for peer in peers.PEERS
    ]


def test_tables_are_aligned(capsys: pytest.CaptureFixture[str]) -> None:
    harness.print_results({"name": "", "n": "rows"}, [{"name": "one", "n": 1_000_000}, {"name": "two"}])
    assert capsys.readouterr().out.splitlines() == ["          rows", "one  1,000,000", "two           "]


def test_figures_replace_what_is_between_the_marks(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    harness.report(tmp_path, "steady", {"results": [{"name": "cpu_share", "value": 0.5}]})
    assert '"cpu_share"' in capsys.readouterr().out
    text = figures.fill(
        f"before\n{figures.BEGIN}\nold\n{figures.END}\nafter\n", figures.section(tmp_path / "results")
    )
    assert "| steady state | value |\n| --- | ---: |\n| cpu_share | 0.50 |\n" in text
    assert (text.startswith("before\n"), text.endswith("\nafter\n"), "old" in text) == (True, True, False)
