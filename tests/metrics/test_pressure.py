"""Pressure stall information, from made-up and real files of the kernel."""

from __future__ import annotations

from pathlib import Path

import pytest

from ml_exporter.metrics.families import Families
from ml_exporter.metrics.pressure import collect_pressure, parse_pressure

TEXT = """\
some avg10=0.12 avg60=0.34 avg300=0.56 total=1234567
full avg10=0.00 avg60=0.00 avg300=0.00 total=89
"""


def values(proc: Path) -> dict[tuple[str, ...], float]:
    families = Families()
    collect_pressure(families, proc=proc)
    found = (sample for family in families.collect() for sample in family.samples)
    return {(sample.name, sample.labels["resource"]): sample.value for sample in found}


def test_totals_are_seconds() -> None:
    assert parse_pressure(TEXT) == {"some": 1.234567, "full": 89e-6}


def test_each_resource_has_what_it_can_have(tmp_path: Path) -> None:
    (tmp_path / "pressure").mkdir()
    for name in ("cpu", "memory", "io"):
        (tmp_path / "pressure" / name).write_text(TEXT)
    waiting, stalled = "ml_host_pressure_waiting_seconds_total", "ml_host_pressure_stalled_seconds_total"
    assert values(tmp_path) == {
        (waiting, "cpu"): 1.234567,
        (waiting, "memory"): 1.234567,
        (waiting, "io"): 1.234567,
        (stalled, "memory"): 89e-6,
        (stalled, "io"): 89e-6,
    }


def test_a_kernel_without_it_has_nothing_to_show(tmp_path: Path) -> None:
    assert values(tmp_path) == {}


def test_the_real_kernel_counts_on() -> None:
    first, second = values(Path("/proc")), values(Path("/proc"))
    if not Path("/proc/pressure/cpu").exists():
        assert first == {}
        return
    assert first.keys() == second.keys()
    assert all(0 <= first[key] <= second[key] for key in first)


def test_what_cannot_be_read_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "pressure/cpu").mkdir(parents=True)
    with pytest.raises(IsADirectoryError):
        values(tmp_path)
