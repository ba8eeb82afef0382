"""The running exporter on hosts that answer, and on one that does not."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

from tests.support.process import PROGRAM, Exporter, wait_for
from tests.support.site import Site

from ml_exporter.watch import COLLECTORS, DEADLINE


def hanging_proc(folder: Path) -> Path:
    """A proc folder whose files never come to an end."""
    proc = folder / "proc"
    for name in ("stat", "meminfo", "pressure/cpu", "1/stat", "1/cmdline"):
        (proc / name).parent.mkdir(parents=True, exist_ok=True)
        os.mkfifo(proc / name)
    return proc


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def test_the_first_page_of_a_host_that_answers_is_whole(tmp_path: Path) -> None:
    site = Site(tmp_path)
    site.config()
    with Exporter(site.config_path, command=("serve",)) as exporter:
        found = exporter.samples()
    assert [found.get(f"ml_exporter_collector_success{{{name}}}") for name in COLLECTORS] == [1] * 6
    assert found["ml_host_cpus{}"] >= 1
    assert "ml_exporter_ready{}" in found


def test_a_host_that_hangs_holds_up_neither_the_own_numbers_nor_the_end(tmp_path: Path) -> None:
    site = Site(tmp_path)
    site.config()
    exporter = Exporter(site.config_path, port=free_port())
    command = [sys.executable, "-c", PROGRAM, "serve", "--config.file", str(site.config_path)]
    flags = ["--host.proc", str(hanging_proc(tmp_path)), "--web.listen-address", f"127.0.0.1:{exporter.port}"]
    with exporter.log.open("wb") as log:
        exporter.process = subprocess.Popen([*command, *flags], stdout=log, stderr=log)
    try:
        wait_for(lambda: exporter.get("/metrics")[0] == 200, seconds=100)
        listening = time.monotonic()
        wait_for(lambda: "ml_exporter_ready{}" in exporter.samples())
        assert time.monotonic() - listening < DEADLINE
        code, seconds = exporter.terminate()
        assert code == 0
        assert seconds < DEADLINE + 2
    finally:
        if exporter.process.poll() is None:
            exporter.process.send_signal(signal.SIGKILL)
            exporter.process.wait(10)
