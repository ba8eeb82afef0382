"""The systemd units, as systemd itself sees them."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from ml_exporter.cli import parser

DEPLOY = Path(__file__).parents[2] / "exporter/deploy"
EVERY = pytest.mark.parametrize("unit", sorted(DEPLOY.glob("*.service")), ids=lambda path: path.stem)
PROGRAM = "/opt/ml_exporter/bin/ml_exporter"


def analyze(folder: Path, given: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run systemd-analyze on a unit, with a program that is there."""
    if shutil.which("systemd-analyze") is None:
        reason = "systemd-analyze is not installed"
        pytest.fail(reason) if os.environ.get("CI") else pytest.skip(reason)
    unit = folder / given.name
    unit.write_text(given.read_text(encoding="utf-8").replace(PROGRAM, sys.executable), encoding="utf-8")
    return subprocess.run(
        ["systemd-analyze", *arguments, str(unit)], capture_output=True, text=True, check=False, timeout=60
    )


@EVERY
def test_systemd_has_nothing_to_say(unit: Path, tmp_path: Path) -> None:
    run = analyze(tmp_path, unit, "verify", "--man=no")
    assert (run.returncode, run.stderr) == (0, "")


@EVERY
def test_the_service_is_hardened(unit: Path, tmp_path: Path) -> None:
    run = analyze(tmp_path, unit, "security", "--offline=true", "--no-pager")
    level = re.search(r"Overall exposure level for [\w-]+\.service: ([\d.]+)", run.stdout)
    assert level, run.stderr
    assert float(level[1]) < 2.5


@EVERY
def test_the_program_accepts_the_flags(unit: Path) -> None:
    (start,) = re.findall(rf"^ExecStart={re.escape(PROGRAM)} (.*) \$ML_\w+_FLAGS$", unit.read_text(), re.M)
    assert str(parser().parse_args(start.split()).config) == "/etc/ml_exporter/config.yml"
