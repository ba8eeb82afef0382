"""`make bench-peers`: the same log through ml_exporter, Evidently, whylogs and NannyML, in one run.

    python -m tests.bench.peers [--rows 1000000] [--repeats 1] [--folder var/bench]

Each peer gets an environment of its own under FOLDER/venvs with versions that work together. Each does
its nearest equivalent: drift of the 20 features against a reference of 50,000 rows, for NannyML also
performance; ml_exporter computes all that it has. All read the flat form of the log, which pandas reads
without further work. A peer that cannot be installed or fails is listed with its error.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import venv
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tests.bench import records
from tests.bench.harness import ROOT, make_profile, print_results, report, run, run_command

REFERENCE_ROWS = 50_000
OURS = "ml_exporter"
NO_REPORTS = {"DO_NOT_TRACK": "1", "WHYLOGS_NO_ANALYTICS": "True", "NML_DISABLE_USAGE_LOGGING": "1"}
"""None of them may report its use to anybody while it is measured."""
COLUMNS = {
    "name": "medians",
    "seconds": "s",
    "reading_seconds": "reading s",
    "rows_per_second": "rows/s",
    "times_ours": "times ours",
    "peak_mb": "peak MB",
    "columns": "columns",
    "error": "",
}


@dataclass(frozen=True)
class Peer:
    """A library and the versions that it works with; newer ones of what it depends on break it."""

    name: str
    requirements: tuple[str, ...]


PEERS = (
    Peer("evidently", ("evidently==0.7.23", "pandas==2.3.3")),
    # The drift algorithms are in whylogs.viz, which imports IPython.
    Peer(
        "whylogs",
        (
            "whylogs==1.6.4",
            "numpy==1.26.4",
            "pandas==2.3.3",
            "protobuf<5",
            "scipy==1.17.1",
            "ipython==9.18.1",
        ),
    ),
    Peer("nannyml", ("nannyml==0.13.1", "statsmodels==0.15.0", "pandas==2.3.3")),
)

Result = dict[str, float | int | str]


def environment(folder: Path, peer: Peer) -> Path:
    """Make a peer's virtual environment if it is not there, and return its interpreter.

    Raises CalledProcessError when something cannot be installed.
    """
    home = folder / peer.name
    python, stamp = home / "bin/python", home / "installed"
    wanted = "\n".join(peer.requirements)
    if stamp.exists() and stamp.read_text() == wanted:
        return python
    venv.create(home, clear=True, with_pip=True)
    install = [
        str(python),
        "-m",
        "pip",
        "install",
        "--quiet",
        "--disable-pip-version-check",
        *peer.requirements,
    ]
    subprocess.run(install, check=True, capture_output=True, text=True)
    stamp.write_text(wanted)
    return python


def contenders(folder: Path, venvs: Path) -> dict[str, Callable[[], dict[str, float]]]:
    """Return what runs each contender, ml_exporter first."""
    log = folder / "flat.jsonl"

    def peer_run(peer: Peer) -> Callable[[], dict[str, float]]:
        command = ["-m", f"tests.bench.peer_programs.with_{peer.name}", str(log), str(REFERENCE_ROWS)]
        return lambda: run_command([str(environment(venvs, peer)), *command], NO_REPORTS)

    ours = records.config(folder, log.name)
    return {OURS: lambda: run("exporter", ours)} | {
        " ".join(peer.requirements[0].split("==")): peer_run(peer) for peer in PEERS
    }


def measure(folder: Path, venvs: Path, rows: int, repeats: int) -> list[Result]:
    """Take turns and return the medians; whoever fails once is out."""
    entrants = contenders(folder, venvs)
    done: dict[str, list[dict[str, float]]] = {name: [] for name in entrants}
    errors: dict[str, str] = {}
    for _ in range(repeats):
        for name, run_once in entrants.items():
            if name not in errors:
                try:
                    done[name].append(run_once())
                except (RuntimeError, subprocess.CalledProcessError, OSError) as error:
                    if name == OURS:
                        raise
                    errors[name] = reason(error)
    ours = statistics.median(item["seconds"] for item in done[OURS])
    return [
        {"name": name, "error": errors[name]} if name in errors else summary(name, found, rows, ours)
        for name, found in done.items()
    ]


def summary(name: str, found: list[dict[str, float]], rows: int, ours: float) -> Result:
    """Return a contender's line."""
    seconds = statistics.median(item["seconds"] for item in found)
    line: Result = {
        "name": name,
        "seconds": round(seconds, 3),
        "rows_per_second": round(rows / seconds),
        "times_ours": round(seconds / ours, 2),
        "peak_mb": round(max(item["peak_bytes"] for item in found) / 1e6),
    }
    if "reading_seconds" in found[0]:
        line["reading_seconds"] = round(statistics.median(item["reading_seconds"] for item in found), 3)
        line["columns"] = int(found[0]["columns"])
    return line


def reason(error: Exception) -> str:
    """Return the last line of what went wrong."""
    text = (error.stderr or str(error)) if isinstance(error, subprocess.CalledProcessError) else str(error)
    return "failed: " + (text.strip().splitlines() or ["no output"])[-1][:200]


def main() -> None:
    """Write the records, install, race, print a table and JSON."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--folder", type=Path, default=ROOT / "var/bench")
    flags = parser.parse_args()
    folder = flags.folder / str(flags.rows)
    records.write(folder, flags.rows)
    make_profile(records.config(folder, "nested.jsonl"), "bench", folder / "profile.jsonl")
    results = measure(folder, flags.folder / "venvs", flags.rows, flags.repeats)
    print_results(COLUMNS, results)
    report(flags.folder, "peers", {"rows": flags.rows, "repeats": flags.repeats, "results": results})


if __name__ == "__main__":
    main()
