"""A history of days, written in minutes' steps, in a real Prometheus with the shipped rules."""

from __future__ import annotations

import random
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import requests
import yaml
from tests.e2e.stack import free_ports
from tests.support.process import wait_for
from tests.tools import REPOSITORY, find_tool

STEP = 240
Value = Callable[[float], float | None]


def written(series: Mapping[str, Value], start: float, end: float) -> str:
    """Return OpenMetrics text: each series' value at each step; None leaves a gap.

    Each series is a family of its own here, which is all that Prometheus asks for.
    """
    lines = []
    for name, value in series.items():
        moments = range(round(start), round(end) + 1, STEP)
        lines += [
            f"{name} {found:.10g} {moment}" for moment in moments if (found := value(moment)) is not None
        ]
    return "\n".join([*lines, "# EOF", ""])


@contextmanager
def prometheus(folder: Path, text: str, rules: str = "prometheus/rules/*.yml") -> Iterator[str]:
    """Yield the URL of a Prometheus that has this history, and scrapes and evaluates nothing meanwhile."""
    (folder / "history.txt").write_text(text)
    data = folder / "data"
    command = [str(find_tool("promtool")), "tsdb", "create-blocks-from", "--quiet", "openmetrics"]
    subprocess.run([*command, str(folder / "history.txt"), str(data)], check=True, timeout=120)
    config = {
        "global": {"evaluation_interval": "1d"},
        "rule_files": [str(REPOSITORY / rules)] if rules else [],
    }
    (folder / "prometheus.yml").write_text(yaml.safe_dump(config))
    [port] = free_ports(1)
    flags = [
        f"--config.file={folder / 'prometheus.yml'}",
        f"--storage.tsdb.path={data}",
        "--storage.tsdb.retention.time=10y",
        f"--web.listen-address=127.0.0.1:{port}",
    ]
    with (folder / "prometheus.log").open("wb") as log:
        process = subprocess.Popen([str(find_tool("prometheus")), *flags], stdout=log, stderr=log)
    url = f"http://127.0.0.1:{port}"
    try:
        wait_for(lambda: _ready(url), 60)
        yield url
    finally:
        process.kill()
        process.wait(10)


def _ready(url: str) -> bool:
    try:
        return requests.get(f"{url}/-/ready", timeout=5).status_code == 200
    except requests.ConnectionError:
        time.sleep(0.1)
        return False


def noise(seed: int, middle: float, spread: float) -> Value:
    """Return values evenly spread around a middle, the same at the same time."""
    return lambda moment: middle + spread * (2 * random.Random(seed * 1_000_003 + round(moment)).random() - 1)


def fixed(value: float) -> Value:
    """Return one value at all times."""
    return lambda _: value
