from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from tests.support.site import Site, label, prediction

from ml_exporter import __version__
from ml_exporter.cli import main, parser

COMMANDS = ("serve", "evaluate", "check", "profile", "hook", "suggest")


@pytest.fixture
def site(tmp_path: Path) -> Site:
    found = Site(tmp_path)
    found.predict(*(prediction(number, number) for number in range(30)))
    found.label(*(label(number, number) for number in range(30)))
    found.config()
    return found


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--version"])
    assert ended.value.code == 0
    assert capsys.readouterr().out == f"ml_exporter {__version__}\n"


def test_help_names_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--help"])
    assert ended.value.code == 0
    text = capsys.readouterr().out
    assert all(command in text for command in COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_its_flags(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main([command, "--help"])
    assert ended.value.code == 0
    text = " ".join(capsys.readouterr().out.split())
    assert "--config.file FILE configuration" in text


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["nonsense"],
        ["serve"],
        ["evaluate", "--config.file", "a.yml", "--at", "yesterday"],
        ["evaluate", "--config.file", "a.yml", "--unknown"],
        ["serve", "--config.file", "a.yml", "--log.level", "loud"],
        ["profile", "--config.file", "a.yml", "--model", "m"],
        ["profile", "--config.file", "a.yml", "--model", "m", "--time-scale", "0", "data.jsonl"],
        ["profile", "--config.file", "a.yml", "--model", "m", "--time-scale", "fast", "data.jsonl"],
    ],
)
def test_wrong_usage_ends_with_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    assert "usage: ml_exporter" in capsys.readouterr().err


@pytest.mark.parametrize("text", ["2013-06-30T00:00:00Z", "2013-06-30", "2013-06-30T02:00:00+02:00"])
def test_times_are_utc_where_they_have_no_zone(text: str) -> None:
    assert (
        parser().parse_args(["evaluate", "--config.file", "a.yml", "--at", text]).at == 1_372_550_400_000_000
    )


@pytest.fixture
def harmless(monkeypatch: pytest.MonkeyPatch) -> None:
    """Commands that change nothing of the process of the tests."""
    monkeypatch.setattr("ml_exporter.cli.signal.signal", lambda *_: None)
    monkeypatch.setattr("ml_exporter.cli.os.umask", lambda _: 0o22)


@pytest.mark.parametrize("command", ["evaluate", "check"])
def test_a_bad_configuration_ends_with_1_and_its_place(
    command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "config.yml"
    path.write_text("exporter: {}\nmodels: []\n", encoding="utf-8")
    assert main([command, "--config.file", str(path)]) == 1
    assert capsys.readouterr().err.startswith(f"{path}:2: models: has too few items")


@pytest.mark.usefixtures("harmless")
@pytest.mark.parametrize("command", ["serve", "hook"])
@pytest.mark.parametrize("style", ["json", "logfmt"])
def test_what_keeps_a_service_from_starting_is_one_event(
    command: str, style: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "config.yml"
    path.write_text("exporter: {}\nmodels: []\nmore: 1\n", encoding="utf-8")
    # Although errors are all that is wanted.
    flags = ["--config.file", str(path), "--log.format", style, "--log.level", "error"]
    assert main([command, *flags]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    if style == "json":
        event = json.loads(line)
        assert event["level"] == "error"
        first, second = event["msg"].splitlines()
        assert first.startswith(f"{path}:2: models: has too few items")
        assert second.startswith(f"{path}:3: more: is not a known key")
    else:
        assert f' level=error msg="{path}:2: models: has too few items' in line


@pytest.mark.usefixtures("harmless")
def test_a_port_that_is_too_high_is_called_that(site: Site, capsys: pytest.CaptureFixture[str]) -> None:
    flags = ["--config.file", str(site.config_path), "--web.listen-address", "127.0.0.1:99999"]
    assert main(["serve", *flags, "--log.format", "json"]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert "has a port above 65535" in json.loads(line)["msg"]


def test_evaluate_prints_the_page_of_all_logs(site: Site, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    assert main(["evaluate", "--config.file", str(site.config_path)]) == 0
    said = capfdbinary.readouterr()
    assert b'ml_predictions_total{model="flight-delay",version="1"} 30.0' in said.out
    assert said.err == b""


def test_evaluate_never_opens_the_state(site: Site, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    assert main(["evaluate", "--config.file", str(site.config_path)]) == 0
    capfdbinary.readouterr()
    assert not (site.folder / "state.duckdb").exists()


def test_evaluate_of_a_log_that_is_missing_fails_and_says_which(
    site: Site, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    (site.folder / "flight-delay-labels.jsonl").unlink()
    assert main(["evaluate", "--config.file", str(site.config_path)]) == 1
    said = capfdbinary.readouterr()
    assert said.err.decode().startswith("ml_exporter: labels of flight-delay: ")
    assert b'reason="immature"' in said.out


def test_evaluate_at_a_time(site: Site, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    # START is 2023-11-14T22:14:00Z.
    arguments = ["evaluate", "--config.file", str(site.config_path), "--at", "2023-11-14T22:14:09.500Z"]
    assert main(arguments) == 0
    assert b'ml_predictions_total{model="flight-delay",version="1"} 10.0' in capfdbinary.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["--model", "other"], "has no model other; it has flight-delay"),
        (["--model", "flight-delay"], "model flight-delay names no profile; add `profile:` or give --output"),
    ],
)
def test_profile_names_what_it_lacks(
    site: Site, capsys: pytest.CaptureFixture[str], arguments: list[str], problem: str
) -> None:
    data = str(site.folder / "flight-delay-predictions.jsonl")
    assert main(["profile", "--config.file", str(site.config_path), *arguments, data]) == 1
    assert problem in capsys.readouterr().err


@pytest.mark.usefixtures("harmless")
def test_listening_beyond_this_machine_must_be_asked_for(
    site: Site, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["serve", "--config.file", str(site.config_path), "--web.listen-address", "0.0.0.0:0"]
    assert main(arguments) == 1
    assert "--web.allow-unauthenticated" in capsys.readouterr().err


def test_a_reader_that_goes_away_makes_no_traceback(site: Site) -> None:
    """As in `ml_exporter evaluate … | head -1`."""
    program = "import sys; from ml_exporter.cli import main; sys.exit(main())"
    read, write = os.pipe()
    os.close(read)
    run = subprocess.run(
        [sys.executable, "-c", program, "evaluate", "--config.file", str(site.config_path)],
        stdout=write,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
        timeout=60,
    )
    os.close(write)
    assert run.returncode == 1
    assert "Traceback" not in run.stderr
