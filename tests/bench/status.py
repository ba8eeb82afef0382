"""The status page of 100 models, all of them in trouble: CPU time from the snapshot to the HTML.

python -m tests.bench.status
"""

from __future__ import annotations

import time
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

from ml_exporter.config import load
from ml_exporter.config_model import Target
from ml_exporter.config_types import FrozenDict
from ml_exporter.engine import Engine, Snapshot, load_layouts
from ml_exporter.store import Store
from ml_exporter.summary import summarize
from ml_exporter.web.pages import StatusPage
from ml_exporter.web.status import Status

GOLDEN = Path(__file__).parents[1] / "golden/config.yml"
MODELS = 100


def fleet(models: int = MODELS) -> Snapshot:
    """The golden model's snapshot as that of many models, whose target is missed."""
    config = load(GOLDEN)
    snapshot = Engine(config, load_layouts(config), Store(None)).run_once(None)
    ((report, state),) = snapshot.reports
    changes = {"quality": FrozenDict({"accuracy": Target(min=0.99), "roc_auc": Target(min=0.99)})}
    names = [f"model-{number}" for number in range(models)]
    reports = tuple(
        (replace(report, model=report.model.model_copy(update={**changes, "name": name})), state)
        for name in names
    )
    sources = tuple(replace(source, model=name) for name in names for source in snapshot.sources)
    return replace(snapshot, reports=reports, sources=sources)


def measure(snapshot: Snapshot) -> tuple[float, float, float, int]:
    """CPU seconds to summarize, to write the page, to write it again, and the page's characters."""
    times, page = [time.thread_time()], StatusPage()
    report = summarize(snapshot)
    times.append(time.thread_time())
    html = ""
    for _ in range(2):
        html = page.html(Status("0.1.0", report.time, (), report))
        times.append(time.thread_time())
    first, second, third = (after - before for before, after in pairwise(times))
    return first, second, third, len(html)


def main() -> None:
    """Print the best of some runs."""
    snapshot = fleet()
    runs = [measure(snapshot) for _ in range(10)]
    summary, html, again, size = min(runs, key=lambda run: run[0] + run[1])
    print(
        f"{MODELS} models: {1000 * summary:.1f} ms to summarize, {1000 * html:.1f} ms to write, "
        f"{1000 * again:.1f} ms to write it again, {size:,} characters"
    )


if __name__ == "__main__":
    main()
