"""Command lines of real processes, and what is searched for in them."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from ml_exporter.metrics.command_line import LENGTH, command_line, lines_with

PROC = Path("/proc")
WAIT = "import sys; print('ready', flush=True); sys.stdin.read()"
ASKING_AT_THE_END = """
import threading, time
from ml_exporter.metrics.command_line import lines_with
lines = [f"{number}" + "x" * 4000 for number in range(300)]
def ask():
    while True:
        lines_with("gunicorn.*serve", lines)
threading.Thread(target=ask, daemon=True).start()
time.sleep(0.1)
"""


@contextmanager
def process(*arguments: str | bytes) -> Iterator[int]:
    """A process with these arguments behind its own; its pid."""
    command = [sys.executable, "-IS", "-c", WAIT, *arguments]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as made:
        assert made.stdout is not None
        assert made.stdout.readline() == b"ready\n"
        try:
            yield made.pid
        finally:
            made.communicate(timeout=10)


def is_in(pattern: str, line: str) -> bool:
    return line in lines_with(pattern, [line, "another line"])


def test_arguments_are_joined_by_blanks() -> None:
    with process("a b", "", "c\nd", b"\xff") as pid:
        line = command_line(PROC, pid)
    assert line == f"{sys.executable} -IS -c {WAIT} a b  c\nd \ufffd"
    assert is_in("\ufffd$", line)
    assert command_line(PROC, pid) == ""


def test_a_line_made_to_be_slow_holds_up_nobody() -> None:
    with process(*["gunicorn " * 14_000] * 14) as pid:
        started = time.monotonic()
        line = command_line(PROC, pid)
        assert is_in("gunicorn", line)
        assert not is_in("gunicorn.*serve", line)
        assert not is_in("(g+.*)+(u+.*)+serve", line)
        assert time.monotonic() - started < 5
    assert len(line) == LENGTH


def test_only_the_beginning_counts() -> None:
    with process("first", "x" * LENGTH, "last") as pid:
        line = command_line(PROC, pid)
    assert is_in("first", line)
    assert not is_in("last", line)


@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        ("serve", True),
        ("^python", True),
        ("^serve", False),
        ("port 1$", True),
        ("python$", False),
        ("python.*port", True),
        ("SERVE", False),
        ("(?i)SERVE", True),
        (r"\bserve\b", True),
        ("s.*z", False),
    ],
)
def test_a_pattern_is_searched_for_anywhere_and_a_dot_is_any_character(pattern: str, found: bool) -> None:
    assert is_in(pattern, "python -c import x\nserve --port 1") is found


def test_of_no_lines_none_match() -> None:
    assert lines_with("a", []) == frozenset()


def test_a_search_under_way_does_not_spoil_the_end_of_the_program() -> None:
    for _ in range(3):
        run = subprocess.run(
            [sys.executable, "-c", ASKING_AT_THE_END], capture_output=True, text=True, timeout=60
        )
        assert (run.returncode, run.stderr) == (0, "")
