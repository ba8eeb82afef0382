"""What the peers' programs share. They run in environments of their own, which have pandas and no ml_exporter.

    python -m tests.bench.peer_programs.with_NAME FLAT_JSONL REFERENCE_ROWS

The first REFERENCE_ROWS rows are the reference, read and prepared before the clock starts, since
ml_exporter's profile is made beforehand as well. The last line printed is JSON: seconds (reading the
file, and what the peer computes), the reading alone, the peak of resident memory, and how many columns
were judged.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pandas as pd
from tests.bench.memory import peak_bytes

CHUNK = 50_000
NUMBERS = [f"number_{index:02d}" for index in range(14)]
CATEGORIES = [f"category_{index}" for index in range(6)]
FEATURES = [*NUMBERS, *CATEGORIES]


def chunks(log: Path) -> Iterator[pd.DataFrame]:
    """Read the log in parts: pandas needs a multiple of the memory to parse it at once."""
    with pd.read_json(log, lines=True, chunksize=CHUNK) as reader:
        yield from reader


def read(log: Path) -> pd.DataFrame:
    """Read the whole log."""
    return pd.concat(chunks(log), ignore_index=True)


def measure(program: Callable[[pd.DataFrame], Callable[[Path], tuple[float, int]]]) -> None:
    """Run a peer. `program` takes the reference and returns what is timed.

    That takes the log, and returns the seconds of reading and the number of columns judged.
    """
    log, rows = Path(sys.argv[1]), int(sys.argv[2])
    timed = program(next(iter(pd.read_json(log, lines=True, chunksize=rows))))
    started = time.perf_counter()
    reading, columns = timed(log)
    seconds = time.perf_counter() - started
    print(
        json.dumps(
            {"seconds": seconds, "reading_seconds": reading, "peak_bytes": peak_bytes(), "columns": columns}
        )
    )
