"""What the containers of watched processes may use and do use, from control groups (version 2).

Of a process's control group and those above it the one with the tightest limit counts: it is the one
that throttles and kills.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from ml_exporter.metrics.families import Families

_PREFIX = "ml_process_cgroup_"


def collect_cgroups(
    families: Families,
    leaders: Mapping[str, int],
    *,
    proc: Path = Path("/proc"),
    sys: Path = Path("/sys"),
) -> None:
    """Add the control groups of some processes, given as pid by the name of their group.

    Nothing is added where the host has no control groups of version 2, or shows them from inside
    another container, where their place is not known.
    """
    for name, pid in leaders.items():
        levels = _levels(proc / str(pid) / "cgroup", sys / "fs/cgroup")
        if levels:
            _add_memory(families, name, levels)
            _add_cpu(families, name, levels)


def _levels(listed: Path, root: Path) -> list[Path]:
    """Return the folders of a process's control group and of those above it, the nearest first."""
    try:
        place = parse_cgroup(listed.read_text())
    except (FileNotFoundError, ProcessLookupError):
        return []
    if not place or ".." in Path(place).parts or not (root / "cgroup.controllers").exists():
        return []
    own = root / place.lstrip("/")
    return [own, *(level for level in own.parents if level.is_relative_to(root))]


def parse_cgroup(text: str) -> str:
    """Return the path in a text as /proc/PID/cgroup, of version 2; empty where there is none."""
    rows = (line.split(":", 2) for line in text.splitlines())
    return next((path for number, kind, path in rows if number == "0" and not kind), "")


def _add_memory(families: Families, name: str, levels: Sequence[Path]) -> None:
    limits = {
        level: limit for level in levels if (limit := parse_limit(_text(level / "memory.max"))) is not None
    }
    level = min(limits, key=lambda found: limits[found], default=levels[0])
    if level in limits:
        families.add(f"{_PREFIX}memory_limit_bytes", (name,), limits[level])
    usage = _text(level / "memory.current")
    if usage:
        families.add(f"{_PREFIX}memory_usage_bytes", (name,), float(usage))
    events = parse_flat(_text(level / "memory.events"))
    if "oom_kill" in events:
        families.add(f"{_PREFIX}oom_kills_total", (name,), events["oom_kill"])


def _add_cpu(families: Families, name: str, levels: Sequence[Path]) -> None:
    limits = {
        level: limit for level in levels if (limit := parse_quota(_text(level / "cpu.max"))) is not None
    }
    level = min(limits, key=lambda found: limits[found], default=levels[0])
    if level in limits:
        families.add(f"{_PREFIX}cpu_limit_cores", (name,), limits[level])
    counts = parse_flat(_text(level / "cpu.stat"))
    for key, family, unit in (
        ("usage_usec", "cpu_seconds_total", 1e-6),
        ("nr_periods", "cpu_periods_total", 1.0),
        ("nr_throttled", "cpu_throttled_periods_total", 1.0),
        ("throttled_usec", "cpu_throttled_seconds_total", 1e-6),
    ):
        if key in counts:
            families.add(f"{_PREFIX}{family}", (name,), counts[key] * unit)


def _text(path: Path) -> str:
    """Return a file's text, empty where the group has no such file, as the root has no limits."""
    try:
        return path.read_text().strip()
    except (FileNotFoundError, NotADirectoryError):
        return ""


def parse_limit(text: str) -> float | None:
    """Return the bytes in a text as memory.max, None for no limit."""
    return None if text in ("", "max") else float(text)


def parse_quota(text: str) -> float | None:
    """Return the cores in a text as cpu.max (microseconds, and of how many), None for no limit."""
    quota, _, period = text.partition(" ")
    return None if quota in ("", "max") else float(quota) / float(period)


def parse_flat(text: str) -> dict[str, float]:
    """Return values by key from a text as cpu.stat."""
    return {key: float(value) for key, value in (line.split() for line in text.splitlines())}
