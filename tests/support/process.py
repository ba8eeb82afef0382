"""The real `ml_exporter serve`, or another command that listens, in a process of its own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

from prometheus_client.parser import text_string_to_metric_families

PROGRAM = "import sys; from ml_exporter.cli import main; sys.exit(main())"


def wait_for(condition: Callable[[], object], seconds: float = 20.0) -> None:
    """Wait until the condition holds."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {seconds} s in vain")
        time.sleep(0.02)


@dataclass
class Exporter:
    """A context manager; the process ends with it, whatever happens."""

    config: Path
    flags: tuple[str, ...] = ()
    command: tuple[str, ...] = ("serve", "--no-collector.host", "--no-collector.process")
    log: Path = field(init=False)
    port: int = 0
    program: str = PROGRAM

    def __post_init__(self) -> None:
        self.log = self.config.with_name(f"{self.command[0]}.log")

    def start(self) -> Self:
        """Start it on a free port, and wait until it answers."""
        arguments = [
            *self.command,
            "--config.file",
            str(self.config),
            "--web.listen-address",
            f"127.0.0.1:{self.port}",
        ]
        arguments += self.flags
        begin = self.log.stat().st_size if self.log.exists() else 0
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-c", self.program, *arguments], stdout=log, stderr=log
            )
        listening = b"listening on"
        try:
            wait_for(lambda: self.process.poll() is not None or listening in self.logged(begin), seconds=100)
        except BaseException:
            self.kill()
            raise
        assert self.process.poll() is None, self.log.read_text(encoding="utf-8")
        address = self.logged(begin).rpartition(b"listening on ")[2].split(b'"')[0]
        self.port = int(address.rpartition(b":")[2])
        return self

    def logged(self, begin: int = 0) -> bytes:
        return self.log.read_bytes()[begin:]

    def get(self, path: str, method: str = "GET") -> tuple[int, str]:
        """Return status and text of one request; status 0 where nobody answers."""
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}{path}", method=method)
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()
        except OSError:
            return 0, ""

    def samples(self, kinds: tuple[str, ...] = ("counter", "gauge", "histogram")) -> dict[str, float]:
        """Return the page's values by `name{values of sorted labels}`."""
        return {
            f"{sample.name}{{{','.join(value for _, value in sorted(sample.labels.items()))}}}": sample.value
            for family in text_string_to_metric_families(self.get("/metrics")[1])
            if family.type in kinds
            for sample in family.samples
        }

    def ready(self) -> bool:
        return self.get("/-/ready")[0] == 200

    def kill(self) -> None:
        """End it without warning, as the kernel does when memory is short."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(10)

    def terminate(self) -> tuple[int, float]:
        """End it as an operator does; return the exit code and how long it took."""
        started = time.monotonic()
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(20), time.monotonic() - started

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.process.poll() is None:
            os.kill(self.process.pid, signal.SIGKILL)
            self.process.wait(10)
