"""GPUs through a stand-in of NVIDIA's library: no machine of the tests has one."""

from __future__ import annotations

import sys
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from ml_exporter.metrics.catalogue import GPU
from ml_exporter.metrics.families import Families
from ml_exporter.metrics.gpu import Gpus, load_nvml


class NVMLError(Exception):
    """As the library's own."""


class UnsupportedError(NVMLError):
    """As the library's own."""


class Library(ModuleType):
    """pynvml with two GPUs, the second of which does not tell its power."""

    NVMLError = NVMLError
    NVMLError_NotSupported = UnsupportedError

    def __init__(self, driver: bool = True) -> None:
        super().__init__("pynvml")
        self.driver, self.inits = driver, 0

    def begin(self) -> None:
        self.inits += 1
        if not self.driver:
            raise NVMLError

    def __getattr__(self, name: str) -> Any:
        def power(handle: int) -> int:
            if handle == 1:
                raise UnsupportedError
            return 250_000

        return {
            "nvmlInit": self.begin,
            "nvmlDeviceGetCount": lambda: 2,
            "nvmlDeviceGetHandleByIndex": lambda index: index,
            "nvmlDeviceGetUtilizationRates": lambda _handle: SimpleNamespace(gpu=40, memory=10),
            "nvmlDeviceGetMemoryInfo": lambda handle: SimpleNamespace(used=5 + handle, total=80),
            "nvmlDeviceGetTemperature": lambda _handle, _sensor: 61,
            "nvmlDeviceGetPowerUsage": power,
        }[name]


def values(gpus: Gpus) -> dict[tuple[str, str], float]:
    families = Families()
    gpus.collect(families)
    found = (sample for family in families.collect() for sample in family.samples)
    return {
        (sample.name.removeprefix("ml_host_gpu_"), sample.labels["gpu"]): sample.value for sample in found
    }


def test_each_gpu_tells_what_it_can(monkeypatch: pytest.MonkeyPatch) -> None:
    library = Library()
    monkeypatch.setitem(sys.modules, "pynvml", library)
    gpus = Gpus()
    assert values(gpus) == {
        ("utilization_ratio", "0"): 0.4,
        ("memory_used_bytes", "0"): 5,
        ("memory_total_bytes", "0"): 80,
        ("temperature_celsius", "0"): 61,
        ("power_watts", "0"): 250,
        ("utilization_ratio", "1"): 0.4,
        ("memory_used_bytes", "1"): 6,
        ("memory_total_bytes", "1"): 80,
        ("temperature_celsius", "1"): 61,
    }
    values(gpus)
    assert library.inits == 1


def test_every_family_of_gpus_is_served(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", Library())
    found = {f"ml_host_gpu_{name}" for name, _ in values(Gpus())}
    assert found == {entry.name for entry in GPU}


def test_without_package_or_driver_nothing_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", None)
    assert load_nvml() is None
    assert values(Gpus()) == {}
    monkeypatch.setitem(sys.modules, "pynvml", Library(driver=False))
    assert values(Gpus()) == {}
