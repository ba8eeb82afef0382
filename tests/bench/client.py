"""What the README's call costs the program that makes it, in CPU time and beside `json.dumps` of the same record.

python -m tests.bench.client
"""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from ml_exporter.client import PredictionLogger

CALLS, RUNS = 20_000, 9


def cost(call: Callable[[], object]) -> float:
    """CPU microseconds a call, the best of some runs."""
    found = []
    for _ in range(RUNS):
        started = time.thread_time()
        for _ in range(CALLS):
            call()
        found.append((time.thread_time() - started) / CALLS * 1e6)
    return min(found)


def main() -> None:
    """Print the costs, with an id of the client's and with one that is given."""
    features = {"age": 41, "plan": "pro"}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "predictions.jsonl"
        log = PredictionLogger(path, version="3")
        made = cost(lambda: log.log(score=0.82, features=features, latency_seconds=0.012))
        given = cost(lambda: log.log(id="a17", score=0.82, features=features, latency_seconds=0.012))
        log.close()
        record = json.loads(path.read_text(encoding="utf-8").splitlines()[0])
    dumped = cost(lambda: json.dumps(record))
    print(
        f"a line: {made:.1f} µs of CPU, {given:.1f} with an id that is given; json.dumps of it {dumped:.1f}"
    )


if __name__ == "__main__":
    main()
