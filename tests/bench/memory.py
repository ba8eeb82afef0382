"""The peak of this process's resident memory. Needs nothing but the standard library."""

from __future__ import annotations

import resource
from pathlib import Path

_STATUS = Path("/proc/self/status")


def peak_bytes() -> int:
    """Return the peak in bytes.

    `ru_maxrss` survives fork and exec, so a child of a large process would report its parent's peak;
    Linux's VmHWM belongs to the program that runs.
    """
    if _STATUS.exists():
        for line in _STATUS.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
