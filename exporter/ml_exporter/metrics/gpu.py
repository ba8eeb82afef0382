"""NVIDIA's GPUs, by the optional package nvidia-ml-py; silent where there is none of both."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

from ml_exporter.metrics.families import Families

_TEMPERATURE_GPU = 0  # NVML_TEMPERATURE_GPU


def load_nvml() -> Any | None:
    """Return NVIDIA's management library, ready for use, or None: no package, no driver, no GPU."""
    try:
        nvml = importlib.import_module("pynvml")
    except ModuleNotFoundError:
        return None
    try:
        nvml.nvmlInit()
    except nvml.NVMLError:
        return None
    return nvml


class Gpus:
    """The host's GPUs. The library is loaded once, which takes a while."""

    def __init__(self, load: Callable[[], Any | None] = load_nvml) -> None:
        self._load = load
        self._loaded = False
        self._nvml: Any | None = None

    def collect(self, families: Families) -> None:
        """Add use, memory, temperature and power of each GPU, as far as it tells."""
        if not self._loaded:
            self._nvml, self._loaded = self._load(), True
        if self._nvml is None:
            return
        for index in range(self._nvml.nvmlDeviceGetCount()):
            self._add(families, str(index), self._nvml.nvmlDeviceGetHandleByIndex(index))

    def _add(self, families: Families, gpu: str, handle: Any) -> None:
        nvml = self._nvml
        assert nvml is not None
        readings: dict[str, Callable[[], float]] = {
            "utilization_ratio": lambda: nvml.nvmlDeviceGetUtilizationRates(handle).gpu / 100,
            "memory_used_bytes": lambda: nvml.nvmlDeviceGetMemoryInfo(handle).used,
            "memory_total_bytes": lambda: nvml.nvmlDeviceGetMemoryInfo(handle).total,
            "temperature_celsius": lambda: nvml.nvmlDeviceGetTemperature(handle, _TEMPERATURE_GPU),
            "power_watts": lambda: nvml.nvmlDeviceGetPowerUsage(handle) / 1000,
        }
        for name, read in readings.items():
            try:
                families.add(f"ml_host_gpu_{name}", (gpu,), read())
            except nvml.NVMLError_NotSupported:
                continue
