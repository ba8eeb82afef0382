"""What the made-up page tells of its exporter, of the host and of the processes there."""

from __future__ import annotations

from ml_exporter.metrics.families import Families


def machinery(families: Families, seconds: float, now: float) -> None:
    """Add all that is about no model, after so many seconds, at Unix time `now`."""
    _exporter(families, seconds, now)
    _host(families, seconds)
    _disks_and_network(families, seconds)
    _pressure_and_gpus(families, seconds)
    _processes(families, seconds, now)


def _exporter(families: Families, seconds: float, now: float) -> None:
    families.add("ml_exporter_build_info", ("0.1.0", "3.11.7", "2.0.0"), 1)
    for name, value in (
        ("ready", 1),
        ("clock_timestamp_seconds", now),
        ("evaluation_timestamp_seconds", now - 1),
        ("evaluation_interval_seconds", 5),
        ("evaluation_duration_seconds", 0.4),
        ("config_last_reload_successful", 1),
        ("config_last_reload_success_timestamp_seconds", now - seconds),
        ("series_limit", 20_000),
        ("state_set_aside_total", 0),
        ("state_size_bytes", 2e6),
        ("cpu_seconds_total", seconds / 10),
        ("resident_memory_bytes", 2e8),
        ("start_time_seconds", now - seconds),
    ):
        families.add(f"ml_exporter_{name}", (), value)
    for state, number in (("exported", 900), ("dropped", 0)):
        families.add("ml_exporter_series", (state,), number)
    for area in ("source", "web"):
        families.add("ml_exporter_errors_total", (area,), seconds)
    for collector in ("host", "process"):
        families.add("ml_exporter_collector_success", (collector,), 1)
        families.add("ml_exporter_collector_duration_seconds", (collector,), 0.01)


def _host(families: Families, seconds: float) -> None:
    for mode in ("idle", "iowait", "system", "user"):
        families.add("ml_host_cpu_seconds_total", (mode,), seconds / 2)
    families.add("ml_host_cpus", (), 2)
    families.add("ml_host_load5", (), 1)
    for name, value in (("total", 8e9), ("available", 3e9), ("swap_total", 1e9), ("swap_free", 9e8)):
        families.add(f"ml_host_memory_{name}_bytes", (), value)


def _disks_and_network(families: Families, seconds: float) -> None:
    # The disk loses a megabyte a second.
    for name, value in (("size_bytes", 1e11), ("avail_bytes", 4e10 - 1e6 * seconds), ("readonly", 0)):
        families.add(f"ml_host_filesystem_{name}", ("/dev/sda1", "ext4", "/"), value)
    for name in ("read_bytes", "written_bytes", "io_time_seconds"):
        families.add(f"ml_host_disk_{name}_total", ("sda",), seconds / 10)
    for way in ("receive", "transmit"):
        for what in ("bytes", "errs", "drop"):
            families.add(f"ml_host_network_{way}_{what}_total", ("eth0",), 1000 * seconds * (what == "bytes"))


def _pressure_and_gpus(families: Families, seconds: float) -> None:
    for resource in ("cpu", "memory", "io"):
        families.add("ml_host_pressure_waiting_seconds_total", (resource,), seconds / 5)
    for resource in ("memory", "io"):
        families.add("ml_host_pressure_stalled_seconds_total", (resource,), seconds / 50)
    for name, value in (
        ("utilization_ratio", 0.5),
        ("memory_used_bytes", 4e9),
        ("memory_total_bytes", 8e9),
        ("temperature_celsius", 60),
        ("power_watts", 150),
    ):
        families.add(f"ml_host_gpu_{name}", ("0",), value)


def _processes(families: Families, seconds: float, now: float) -> None:
    families.add("ml_process_cpu_seconds_total", ("model-server",), seconds / 2)
    for name, value in (
        ("resident_memory_bytes", 1e9),
        ("threads", 8),
        ("open_fds", 40),
        ("instances", 2),
        ("oldest_start_time_seconds", now - seconds),
        ("unreadable", 0),
        ("worst_fd_ratio", 0.1),
        ("read_bytes_total", seconds),
        ("written_bytes_total", seconds),
        ("restarts_total", 0),
        ("cgroup_memory_usage_bytes", 1e9),
        ("cgroup_memory_limit_bytes", 2e9),
        ("cgroup_cpu_limit_cores", 1),
        ("cgroup_cpu_seconds_total", seconds / 2),
        ("cgroup_cpu_periods_total", 10 * seconds),
        ("cgroup_cpu_throttled_periods_total", seconds),
        ("cgroup_oom_kills_total", 0),
    ):
        families.add(f"ml_process_{name}", ("model-server",), value)
