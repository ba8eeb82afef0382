"""The image: linted, unprivileged, with nothing in it that is not needed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from tests.tools import REPOSITORY

HADOLINT = Path(sys.executable).with_name("hadolint")
LINES = (REPOSITORY / "exporter" / "Dockerfile").read_text("utf-8").splitlines()


def position(start: str) -> int:
    """Return the number of the last line that begins so."""
    return max(number for number, line in enumerate(LINES) if line.strip().startswith(start))


def lint(dockerfile: str) -> subprocess.CompletedProcess[str]:
    command = [str(HADOLINT), "--config", str(REPOSITORY / ".hadolint.yaml"), "-"]
    return subprocess.run(command, input=dockerfile, capture_output=True, text=True, timeout=60)


def test_hadolint_finds_nothing() -> None:
    run = lint("\n".join(LINES) + "\n")
    assert (run.returncode, run.stdout) == (0, "")


def test_hadolint_would_find_something() -> None:
    assert lint("FROM python\nRUN cd /tmp && pip install x\n").returncode != 0


def test_the_state_belongs_to_the_user_before_it_becomes_a_volume() -> None:
    assert position("&& chown -R 10477:10477 /var/lib/ml_exporter") < position("USER 10477:10477")
    assert position("USER 10477:10477") < position('VOLUME ["/var/lib/ml_exporter"]')


def test_it_checks_its_health_without_curl() -> None:
    """The probe's own tests are those of the web config's ways to be asked."""
    check = LINES[position("HEALTHCHECK") + 1]
    assert check.split("CMD ")[1] == '["python3", "-m", "ml_exporter.web.probe", "10477"]'
    assert "EXPOSE 10477" in LINES
    assert "curl" not in "\n".join(LINES)


@pytest.mark.parametrize("line", [line for line in LINES if line.startswith("FROM")])
def test_base_images_are_slim_and_carry_a_version(line: str) -> None:
    assert line.split()[1] == "python:3.11-slim-bookworm"


def test_the_build_sees_only_what_it_is_told_to() -> None:
    patterns = (REPOSITORY / ".dockerignore").read_text("utf-8").split("\n")
    allowed = {pattern.removeprefix("!") for pattern in patterns if pattern.startswith("!")}
    assert "*" in patterns
    assert allowed == {"pyproject.toml", "README.md", "LICENSE", "exporter/ml_exporter", "exporter/demo"}
    copied = {part for line in LINES if line.startswith("COPY ") for part in line.split()[1:-1]}
    assert {part for part in copied if not part.startswith(("--", "/"))} == allowed
