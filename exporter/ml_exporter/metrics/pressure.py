"""Pressure stall information: how long work waited for CPU, memory or disks, as node_exporter means it."""

from __future__ import annotations

import errno
from pathlib import Path

from ml_exporter.metrics.families import Families

# That all work waits for the CPU at once cannot be said of a whole host (Documentation/accounting/psi.rst).
_STALLS = {"cpu": ("some",), "memory": ("some", "full"), "io": ("some", "full")}
_NAMES = {
    "some": "ml_host_pressure_waiting_seconds_total",
    "full": "ml_host_pressure_stalled_seconds_total",
}


def collect_pressure(families: Families, *, proc: Path = Path("/proc")) -> None:
    """Add the host's pressure; nothing where its kernel keeps none."""
    for resource, stalls in _STALLS.items():
        try:
            text = (proc / "pressure" / resource).read_text()
        except FileNotFoundError:
            continue
        except OSError as error:
            if error.errno == errno.EOPNOTSUPP:  # the kernel can, but was told not to
                continue
            raise
        totals = parse_pressure(text)
        for stall in stalls:
            if stall in totals:
                families.add(_NAMES[stall], (resource,), totals[stall])


def parse_pressure(text: str) -> dict[str, float]:
    """Return seconds by `some` and `full` from a text as /proc/pressure/memory."""
    rows = (line.split() for line in text.splitlines())
    return {row[0]: int(row[-1].removeprefix("total=")) / 1e6 for row in rows if row}
