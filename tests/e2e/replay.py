"""The flight year without any injected fault, through the bundle as shipped: which alarms it brings, and when.

    PYTHONPATH=exporter/demo python -m tests.e2e.replay

April to December 2013 pass at 15 times the demo's pace (a day in two seconds), with the rules' times cut
alike. Prints how often each alert began to fire by month, for the table in the README. It takes ten minutes.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import requests
from tests.e2e.expected import NOT_JUDGED
from tests.e2e.stack import Pace, Show, Stack, running

PACE = Pace(faster=15, factor=300, interval=1, patience=120, labels_stop_ahead=0)
YEAR = Show(faults=(), since="2013-04-01", until="2014-01-01")
SINCE, UNTIL = (datetime.fromisoformat(day).replace(tzinfo=UTC) for day in (YEAR.since, YEAR.until))
FIRING = 'ALERTS{alertstate="firing", alertname!="MLWatchdog"}'


@dataclass(frozen=True)
class Alarm:
    """One time that an alert began to fire, on the calendar of the flights."""

    name: str
    severity: str
    what: str
    day: datetime


def alarms(stack: Stack, begun: float, ended: float) -> list[Alarm]:
    """Return all alarms from Prometheus' own history; `begun` is when the first day began (Unix seconds)."""
    step = PACE.interval
    question = {"query": FIRING, "start": begun, "end": ended, "step": step}
    answer = requests.get(f"{stack.prometheus}/api/v1/query_range", question, timeout=60).json()
    found = []
    for series in answer["data"]["result"]:
        labels = series["metric"]
        times = [float(time) for time, _ in series["values"]]
        starts = [now for before, now in zip([0.0, *times], times, strict=False) if now - before > 2 * step]
        kept = ("version", "metric", "column", "subject", "segment", "value", "candidate", "source")
        what = " ".join(labels[name] for name in kept if name in labels)
        for start in starts:
            day = SINCE + timedelta(days=(start - begun) / PACE.day_seconds)
            found.append(Alarm(labels["alertname"], labels["severity"], what, day))
    return sorted((alarm for alarm in found if alarm.name not in NOT_JUDGED), key=lambda alarm: alarm.day)


def table(found: Iterable[Alarm]) -> str:
    """Return the alarms by alert and month as a table in Markdown."""
    months = [f"{month:02d}" for month in range(4, 13)]
    counts: dict[tuple[str, str], Counter[str]] = defaultdict(Counter)
    for alarm in found:
        counts[alarm.name, alarm.severity][f"{alarm.day:%m}"] += 1
    lines = [f"| alert | severity | {' | '.join(months)} |", f"| --- | --- |{' ---: |' * len(months)}"]
    for (name, severity), by_month in sorted(counts.items()):
        cells = (str(by_month[month] or "") for month in months)
        lines.append(f"| {name} | {severity} | {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    """Play the year, print each alarm and the table."""
    with tempfile.TemporaryDirectory(prefix="ml_exporter-replay-") as name:
        begun = time.time() - PACE.backdated_days * PACE.day_seconds
        with running(PACE, Path(name), YEAR) as stack:
            ended = begun + (UNTIL - SINCE).days * PACE.day_seconds
            time.sleep(max(0.0, ended - time.time()))
            found = alarms(stack, begun, ended)
    for alarm in found:
        print(f"{alarm.day:%Y-%m-%d} {alarm.name} {alarm.severity} {alarm.what}", file=sys.stderr)
    print(table(found))


if __name__ == "__main__":
    main()
