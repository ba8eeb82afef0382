"""What all parts of the benchmark share: a contender in a process of its own, its memory, tables."""

from __future__ import annotations

import contextlib
import io
import json
import os
import platform
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import duckdb

from ml_exporter import __version__, cli

ROOT = Path(__file__).parents[2]


def run(contender: str, file: Path) -> dict[str, float]:
    """Run one of `contenders.CONTENDERS` and return what it printed."""
    return run_command([sys.executable, "-m", "tests.bench.contenders", contender, str(file)])


def run_command(command: Sequence[str], environment: Mapping[str, str] | None = None) -> dict[str, float]:
    """Run a program whose last line is JSON; raises RuntimeError with the end of its errors."""
    done = subprocess.run(
        command, capture_output=True, text=True, cwd=ROOT, env={**os.environ, **(environment or {})}
    )
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(command)}:\n{done.stderr[-2000:]}")
    result: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return result


def make_profile(config: Path, model: str, data: Path) -> None:
    """Run `ml_exporter profile` without its table; raises SystemExit when it fails."""
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()) as errors:
        code = cli.main(["profile", "--config.file", str(config), "--model", model, str(data)])
    if code != 0:
        raise SystemExit(errors.getvalue())


def machine() -> dict[str, str | int]:
    """Return what a figure depends on, beside the program."""
    return {
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)),
        "python": platform.python_version(),
        "duckdb": duckdb.__version__,
        "ml_exporter": __version__,
    }


def report(folder: Path, part: str, figures: Mapping[str, Any]) -> None:
    """Print a part's figures as JSON and keep them for `tests.bench.figures`."""
    text = json.dumps({"machine": machine(), **figures})
    (folder / "results").mkdir(parents=True, exist_ok=True)
    (folder / "results" / f"{part}.json").write_text(text)
    print(text)


def table(columns: Mapping[str, str], rows: Sequence[Mapping[str, Any]]) -> list[list[str]]:
    """Return the cells of a table, the heading first; `columns` maps a row's keys to headings."""
    return [list(columns.values()), *([_cell(row.get(key)) for key in columns] for row in rows)]


def print_results(columns: Mapping[str, str], rows: Sequence[Mapping[str, Any]]) -> None:
    """Print a table of which the first column is text."""
    lines = table(columns, rows)
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        first, *others = (
            text.ljust(width) if index == 0 else text.rjust(width)
            for index, (text, width) in enumerate(zip(line, widths, strict=True))
        )
        print("  ".join((first, *others)))


def _cell(value: object) -> str:
    if isinstance(value, float):
        return f"{value:,.2f}" if value < 1000 else f"{value:,.0f}"
    if isinstance(value, int):
        return f"{value:,}"
    return "" if value is None else str(value)


def _processor() -> str:
    names = [line for line in _lines(Path("/proc/cpuinfo")) if line.startswith("model name")]
    return names[0].partition(":")[2].strip() if names else platform.processor()


def _lines(path: Path) -> list[str]:
    return path.read_text().splitlines() if path.exists() else []
