"""The systemd unit, as systemd itself sees it."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from ml_exporter.cli import parser

UNIT = Path(__file__).parents[2] / "exporter/deploy/ml_exporter.service"
PROGRAM = "/opt/ml_exporter/bin/ml_exporter"


def analyze(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run systemd-analyze on the unit, with a program that is there."""
    if shutil.which("systemd-analyze") is None:
        reason = "systemd-analyze is not installed"
        pytest.fail(reason) if os.environ.get("CI") else pytest.skip(reason)
    unit = folder / UNIT.name
    unit.write_text(UNIT.read_text(encoding="utf-8").replace(PROGRAM, sys.executable), encoding="utf-8")
    return subprocess.run(
        ["systemd-analyze", *arguments, str(unit)], capture_output=True, text=True, check=False, timeout=60
    )


def test_systemd_has_nothing_to_say(tmp_path: Path) -> None:
    run = analyze(tmp_path, "verify", "--man=no")
    assert (run.returncode, run.stderr) == (0, "")


def test_the_service_is_hardened(tmp_path: Path) -> None:
    run = analyze(tmp_path, "security", "--offline=true", "--no-pager")
    level = re.search(r"Overall exposure level for ml_exporter\.service: ([\d.]+)", run.stdout)
    assert level, run.stderr
    assert float(level[1]) < 2.5


def test_the_exporter_accepts_the_flags() -> None:
    (start,) = re.findall(
        rf"^ExecStart={re.escape(PROGRAM)} (.*) \$ML_EXPORTER_FLAGS$", UNIT.read_text(), re.M
    )
    assert str(parser().parse_args(start.split()).config) == "/etc/ml_exporter/config.yml"
