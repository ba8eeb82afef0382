"""A real Prometheus that scrapes the made-up page and runs the shipped recording rules."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import requests
import yaml
from tests.grafana.models import MODELS
from tests.grafana.page import page
from tests.tools import REPOSITORY, find_tool

RULES = """
groups:
- name: alerts
  rules:
  - alert: MLWatchdog
    expr: vector(1)
    labels: {severity: info}
  - alert: MLQualityAboveTarget
    expr: last_over_time(ml_quality_lower{model="flight-delay", metric="brier_score", window="15m", version="1"}[1m]) > 0.18
    labels: {severity: critical}
  - alert: MLMemoryNearlyFull
    expr: last_over_time(ml_host_memory_available_bytes[1m]) < 5e9
    labels: {severity: warning}
"""
CONFIG = """
global: {scrape_interval: 1s, evaluation_interval: 1s}
rule_files: [rules.yml, recorded.yml]
scrape_configs:
- job_name: ml_exporter
  static_configs: [{targets: ["127.0.0.1:%d"]}]
"""
SCRAPED = 'count_over_time(ml_predictions_total[10s]) >= 3 and on () ALERTS{severity="critical"}'
RECORDED = "job_instance_model_subject:ml_budget_left:ratio30d >= 0"


class Exporter(BaseHTTPRequestHandler):
    """Serves the page; its counters grow from the start of the server."""

    started = time.time()

    def do_GET(self) -> None:
        body = page(time.time() - self.started, time.time())
        self.send_response(200)
        self.send_header("Content-Type", "text/plain; version=0.0.4")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: object) -> None:
        """Say nothing."""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_for(url: str, query: str, seconds: float = 40.0) -> None:
    """Wait until a query brings something."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            answer = requests.get(f"{url}/api/v1/query", params={"query": query}, timeout=5).json()
            if answer["data"]["result"]:
                return
        except (requests.RequestException, KeyError):
            pass
        time.sleep(0.2)
    pytest.fail(f"nothing from {query} within {seconds} s")


def recording_rules(folder: Path) -> None:
    """Write the shipped rules without the alerts, their times shortened, to recorded.yml."""
    script = REPOSITORY / "prometheus" / "scale_rules.py"
    pace = ("--factor", "300", "--minimum-interval", "1s", "--out", str(folder / "scaled"))
    subprocess.run([sys.executable, str(script), *pace], check=True)
    groups = [
        group | {"rules": [rule for rule in group["rules"] if "record" in rule]}
        for path in sorted((folder / "scaled/prometheus/rules").glob("*.yml"))
        for group in yaml.safe_load(path.read_text("utf-8"))["groups"]
    ]
    (folder / "recorded.yml").write_text(yaml.safe_dump({"groups": groups}))


def last_week(folder: Path, port: int) -> None:
    """Let Prometheus know what the models' traffic was a week ago, for some minutes before and after."""
    then = int(time.time()) - 7 * 86400
    labels = 'job="ml_exporter",instance="127.0.0.1:%d",model="%s",version="1"'
    samples = [
        f"ml_predictions_total{{{labels % (port, made.name)}}} {20 * (second + 120)} {then + second}"
        for made in MODELS
        for second in range(-120, 600, 5)
    ]
    text = "\n".join(["# TYPE ml_predictions counter", *samples, "# EOF", ""])
    (folder / "last_week.txt").write_text(text)
    command = ["tsdb", "create-blocks-from", "openmetrics", "last_week.txt", "data"]
    subprocess.run([find_tool("promtool"), *command], cwd=folder, check=True, capture_output=True)


@contextmanager
def running(folder: Path) -> Iterator[str]:
    """Yield the address of Prometheus when it has scraped, judged and recorded."""
    page(0, 0)  # what is wrong with it is known at once, and not when nothing comes
    binary = find_tool("prometheus")
    server = ThreadingHTTPServer(("127.0.0.1", 0), Exporter)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    (folder / "rules.yml").write_text(RULES)
    recording_rules(folder)
    last_week(folder, server.server_port)
    (folder / "prometheus.yml").write_text(CONFIG % server.server_port)
    url = f"http://127.0.0.1:{free_port()}"
    command = [
        str(binary),
        f"--config.file={folder / 'prometheus.yml'}",
        f"--storage.tsdb.path={folder / 'data'}",
        f"--web.listen-address={url.removeprefix('http://')}",
        "--log.level=error",
    ]
    with subprocess.Popen(command, cwd=folder) as process:
        try:
            wait_for(url, SCRAPED)
            wait_for(url, RECORDED)
            yield url
        finally:
            process.terminate()
            process.wait(20)
            server.shutdown()
            server.server_close()
