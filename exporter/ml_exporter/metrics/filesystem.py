"""Space of the host's filesystems, as node_exporter means it."""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from ml_exporter.metrics.families import Families

# node_exporter's defaults for Linux (collector/filesystem_linux.go).
_NO_MOUNT_POINT = re.compile(
    r"/(dev|proc|run/credentials/.+|sys|var/lib/docker/.+|var/lib/containers/storage/.+)($|/)"
)
_NO_TYPE = re.compile(
    r"(autofs|binfmt_misc|bpf|cgroup2?|configfs|debugfs|devpts|devtmpfs|fusectl|hugetlbfs|iso9660|mqueue|nsfs|"
    r"overlay|proc|procfs|pstore|rpc_pipefs|securityfs|selinuxfs|squashfs|erofs|sysfs|tracefs)"
)
_OCTAL = re.compile(r"\\([0-7]{3})")


class Space(Protocol):
    """What os.statvfs returns, as far as it is needed."""

    @property
    def f_frsize(self) -> int:
        """Bytes in a block."""

    @property
    def f_blocks(self) -> int:
        """Blocks in all."""

    @property
    def f_bavail(self) -> int:
        """Blocks that unprivileged users can still have."""


@dataclass(frozen=True, slots=True)
class Mount:
    """One mounted filesystem; `number` is the kernel's major:minor of it."""

    number: str
    device: str
    mountpoint: str
    fstype: str
    readonly: bool


class MountProbe:
    """Asks mounts for their space, each in a thread, so that one that hangs holds up nobody.

    A mount that did not answer within `timeout` seconds is left alone until its answer comes.
    """

    def __init__(self, timeout: float = 2.0, statvfs: Callable[[Path], Space] = os.statvfs) -> None:
        self._timeout = timeout
        self._statvfs = statvfs
        self._stuck: dict[Path, threading.Thread] = {}

    def space(self, path: Path) -> Space | None:
        """Return the mount's space; None when it hangs or cannot be read."""
        if path in self._stuck and self._stuck[path].is_alive():
            return None
        answers: list[Space] = []
        thread = threading.Thread(target=self._ask, args=(path, answers), name="statvfs", daemon=True)
        thread.start()
        thread.join(self._timeout)
        if thread.is_alive():
            self._stuck[path] = thread
            return None
        self._stuck.pop(path, None)
        return answers[0] if answers else None

    def _ask(self, path: Path, answers: list[Space]) -> None:
        try:
            answers.append(self._statvfs(path))
        except OSError:
            return  # no answer: the mount is gone, or its server refuses


def collect_filesystems(families: Families, text: str, root: Path, probe: MountProbe) -> None:
    """Add size, free space and state of each real filesystem in a mountinfo text, reached below `root`."""
    for mount in chosen_mounts(parse_mountinfo(text)):
        space = probe.space(root / mount.mountpoint.lstrip("/"))
        if space is None:
            continue
        labels = (mount.device, mount.fstype, mount.mountpoint)
        families.add("ml_host_filesystem_size_bytes", labels, space.f_blocks * space.f_frsize)
        families.add("ml_host_filesystem_avail_bytes", labels, space.f_bavail * space.f_frsize)
        families.add("ml_host_filesystem_readonly", labels, float(mount.readonly))


def parse_mountinfo(text: str) -> list[Mount]:
    """Return the mounts in a text as in /proc/self/mountinfo (proc_pid_mountinfo(5))."""
    mounts = []
    for line in text.splitlines():
        before, separator, after = line.partition(" - ")
        mount, filesystem = before.split(" "), after.split(" ")
        if not separator or len(mount) < 6 or len(filesystem) < 3:
            continue
        options = {*mount[5].split(","), *filesystem[2].split(",")}
        device, mountpoint = _unescaped(filesystem[1]), _unescaped(mount[4])
        mounts.append(Mount(mount[2], device, mountpoint, filesystem[0], "ro" in options))
    return mounts


def chosen_mounts(mounts: list[Mount]) -> list[Mount]:
    """Return real filesystems, each device once, at its shortest mount point."""
    # What is mounted last hides what was mounted on the same folder before.
    visible = {mount.mountpoint: mount for mount in mounts}
    chosen: dict[str, Mount] = {}
    for mount in sorted(visible.values(), key=lambda mount: (len(mount.mountpoint), mount.mountpoint)):
        if not _NO_MOUNT_POINT.match(mount.mountpoint) and not _NO_TYPE.fullmatch(mount.fstype):
            chosen.setdefault(mount.number, mount)
    return list(chosen.values())


def _unescaped(text: str) -> str:
    return _OCTAL.sub(lambda match: chr(int(match[1], 8)), text)
