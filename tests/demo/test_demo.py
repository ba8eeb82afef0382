"""The whole demo as `make run` starts it: real programs, on the ports that it always uses."""

import os
import shutil
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from tests.tools import REPOSITORY, find_tool

pytestmark = pytest.mark.long

METRICS = "http://127.0.0.1:10477/metrics"
EXPECTED = (
    "ml_quality{",
    'metric="roc_auc"',
    "ml_drift{",
    "ml_drift_noise{",
    "ml_input_violation_ratio{",
    "ml_host_",
)


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """Return a copy of what the demo needs, so that it leaves the var folder of this clone alone."""
    find_tool("prometheus")
    find_tool("alertmanager")
    for folder in ("exporter/demo", "prometheus", "alertmanager"):
        shutil.copytree(REPOSITORY / folder, tmp_path / folder)
    (tmp_path / ".tools").symlink_to(REPOSITORY / ".tools")
    return tmp_path


@pytest.fixture
def demo(clone: Path) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, str(clone / "exporter" / "demo" / "run.py"), "start"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        yield process
        process.kill()


def read_until(process: subprocess.Popen[str], text: str) -> str:
    """Return what a process says up to the line with `text`."""
    said = []
    assert process.stdout is not None
    for line in process.stdout:
        said.append(line)
        if text in line:
            return "".join(said)
    pytest.fail("the demo ended:\n" + "".join(said))


def get(url: str) -> str:
    with urllib.request.urlopen(url, timeout=10) as answer:
        return str(answer.read().decode())


def test_the_demo_serves_and_leaves_no_process(demo: subprocess.Popen[str]) -> None:
    said = read_until(demo, "Ctrl-C stops everything")
    assert METRICS in said
    page = get(METRICS)
    assert [name for name in EXPECTED if name not in page] == []
    check = subprocess.run(
        [str(find_tool("promtool")), "check", "metrics"], input=page, capture_output=True, text=True
    )
    assert (check.returncode, check.stdout, check.stderr) == (0, "", "")

    below = psutil.Process(demo.pid).children(recursive=True)
    assert len(below) >= 5
    listening = [c.laddr.ip for p in below for c in p.net_connections("inet") if c.status == "LISTEN"]
    assert set(listening) == {"127.0.0.1"}

    os.kill(demo.pid, signal.SIGINT)
    assert demo.wait(20) == 0
    assert psutil.wait_procs(below, timeout=5)[1] == []
