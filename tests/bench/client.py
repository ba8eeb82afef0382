"""What a line costs the program that logs it, in CPU time and beside a bare `json.dumps`.

python -m tests.bench.client
"""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from ml_exporter.client import PredictionLogger

CALLS, RUNS = 20_000, 7
FEATURES = {"age": 41, "plan": "pro", "income": 52_000.5, "tenure": 12, "country": "DE"}


def cost(call: Callable[[int], object]) -> float:
    """CPU microseconds a call, the best of some runs."""
    found = []
    for _ in range(RUNS):
        started = time.thread_time()
        for number in range(CALLS):
            call(number)
        found.append((time.thread_time() - started) / CALLS * 1e6)
    return min(found)


def main() -> None:
    """Print both costs."""
    with tempfile.TemporaryDirectory() as folder:
        log = PredictionLogger(Path(folder) / "predictions.jsonl", version="3", max_bytes=4 << 20)
        logged = cost(lambda number: log.log(id=number, score=0.82, prediction=True, features=FEATURES))
        log.close()
    dumped = cost(lambda number: json.dumps({"id": number, "score": 0.82, "features": FEATURES}))
    print(
        f"a line of {len(FEATURES)} features: {logged:.1f} µs of CPU; json.dumps of it alone {dumped:.1f} µs"
    )


if __name__ == "__main__":
    main()
