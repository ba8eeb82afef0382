"""The bundle on free loopback ports: the demo's traffic once for each fault, exporter, Prometheus, Alertmanager.

All of it is as shipped but for paths, addresses and the pace. One exporter watches one model for each
fault and one without, so that all faults are seen at once, and what one of them does to the others as well.
"""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import psutil
import requests
import traffic
import yaml
from prometheus.scale_rules import milliseconds
from supervisor import HOST, Program, Supervisor, answers
from tests.e2e.receiver import Page, Receiver
from tests.support.listening import listening
from tests.tools import REPOSITORY, find_tool

CLEAN = "flight-delay"
SHIPPED_PAGER = "http://127.0.0.1:10479/"
POLL_SECONDS = 0.1
JUDGED = 'ml_quality_upper{version="1"} and on (job, instance, model, metric, window) ml_quality_target'
TARGETS = 2
"""How many of them the demo's model has."""

Json = dict[str, Any]


@dataclass(frozen=True)
class Pace:
    """How fast things go: windows and days `faster` times as in the demo, times of rules divided by `factor`.

    `slower` makes days that much longer, so that a window holds fewer of them.
    `interval` is that of scrapes and evaluations, `patience` how long to wait for anything, and
    `labels_stop_ahead` how long before the start labels stop where that is the fault, all in seconds.
    """

    faster: int
    factor: int
    interval: int
    patience: float
    labels_stop_ahead: float
    slower: int = 1

    def time(self, duration: str, least: int = 0) -> str:
        """Return one of the demo's durations at this pace, not below `least` seconds unless it was."""
        before = milliseconds(duration) // 1000
        return f"{max(before // self.faster, min(least, before))}s"

    def days(self, duration: str, least: int = 0) -> str:
        """Return a duration that belongs to the days, as that until a label is there."""
        return f"{self.slower * milliseconds(self.time(duration, least)) // 1000}s"

    @property
    def alert_window(self) -> str:
        """The window that alerts judge."""
        return self.time("15m")

    @property
    def longest_wait(self) -> float:
        """After how many seconds any alert has come: half an hour, as shipped, and the way to the pager."""
        evaluated_scraped_and_judged = 3 * self.interval
        return 1800 / self.factor + evaluated_scraped_and_judged + 1

    @property
    def day_seconds(self) -> float:
        """How long a simulated day takes."""
        return 30 / self.faster * self.slower

    @property
    def backdated_days(self) -> int:
        """How many days the longest window holds."""
        return 30 // self.slower


@dataclass(frozen=True)
class Show:
    """What is played: the days, which start again when they are over, and a model for each of the faults.

    The default days are quiet weeks, up to where the model's second version begins.
    """

    faults: tuple[str, ...] = ("shift", "missing", "label-stop", "flip")
    since: str = "2013-04-20"
    until: str = "2013-07-01"

    @property
    def models(self) -> dict[str, str]:
        """Names of models with their faults."""
        return {CLEAN: "none", **{f"{CLEAN}-{fault}": fault for fault in self.faults}}


@dataclass(frozen=True)
class Stack:
    """The running bundle."""

    pace: Pace
    show: Show
    folder: Path
    exporter: str
    prometheus: str
    alertmanager: str
    receiver: Receiver

    @property
    def instance(self) -> str:
        """The exporter's label."""
        return self.exporter.removeprefix("http://")

    def pages(self, status: str = "firing") -> list[Page]:
        """Return what has been received, but for the Watchdog."""
        return [page for page in self.receiver.pages if page.name != "MLWatchdog" and page.status == status]

    def query(self, expression: str) -> list[Json]:
        """Return the series of an instant query."""
        answer = requests.get(f"{self.prometheus}/api/v1/query", {"query": expression}, timeout=10).json()
        assert answer["status"] == "success", answer
        series: list[Json] = answer["data"]["result"]
        return series

    def alerts(self) -> list[Json]:
        """Return the alerts that Alertmanager has, those held back as well."""
        found: list[Json] = requests.get(f"{self.alertmanager}/api/v2/alerts", timeout=10).json()
        return found

    def judges(self) -> bool:
        """Tell whether the targets of all models that have labels are judged."""
        unlabelled = 1 if self.pace.labels_stop_ahead else 0
        wanted = TARGETS * (len(self.show.models) - unlabelled)
        return bool(self.query(f"count({JUDGED}) >= {wanted}"))

    def counts(self) -> bool:
        """Tell whether counters no longer show the 0 that they are born with."""
        return bool(self.query('min(ml_predictions_total{version="1"}) > 0'))

    def break_all(self) -> None:
        """Let each model's fault begin."""
        for model, fault in self.show.models.items():
            begin_fault(self.folder / model, fault)

    def signal_exporter(self, number: signal.Signals) -> None:
        """Send the exporter a signal."""
        [process] = [child for child in psutil.Process().children() if "serve" in child.cmdline()]
        process.send_signal(number)

    def kill_exporter(self) -> None:
        """End the exporter as a power cut would."""
        self.signal_exporter(signal.SIGKILL)

    def wait(self, condition: Callable[[], object]) -> bool:
        """Wait until `condition` holds; tell whether it did within the patience."""
        deadline = time.monotonic() + self.pace.patience
        while not condition():
            if time.monotonic() > deadline:
                return False
            time.sleep(POLL_SECONDS)
        return True


@contextmanager
def running(pace: Pace, folder: Path, show: Show = Show()) -> Iterator[Stack]:
    """Yield the bundle once each of its programs is ready; end all of them in any case."""
    binaries = find_tool("prometheus"), find_tool("alertmanager")
    ports = free_ports(3)
    with listening(Receiver()) as receiver:
        write_configuration(pace, show, folder, ports, receiver.server_port)
        supervisor = Supervisor(folder, folder)
        try:
            for program in programs(pace, show, folder, ports, *binaries):
                supervisor.start(program)
            exporter, prometheus, alertmanager = (f"http://{HOST}:{port}" for port in ports)
            yield Stack(pace, show, folder, exporter, prometheus, alertmanager, receiver)
        finally:
            supervisor.stop()


def begin_fault(folder: Path, fault: str) -> None:
    """Tell the traffic that writes into `folder` its model's fault."""
    draft = folder / "fault.new"
    draft.write_text(fault)
    draft.replace(folder / "fault")


def free_ports(number: int) -> list[int]:
    """Return ports of the loopback address that are free now."""
    sockets = [socket.create_server((HOST, 0)) for _ in range(number)]
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


def write_configuration(pace: Pace, show: Show, folder: Path, ports: list[int], receiver: int) -> None:
    """Write what the programs read: the shipped files with other paths, addresses and times."""
    script = REPOSITORY / "prometheus" / "scale_rules.py"
    scale = [
        sys.executable,
        str(script),
        "--factor",
        str(pace.factor),
        "--minimum-interval",
        f"{pace.interval}s",
    ]
    subprocess.run([*scale, "--out", str(folder)], check=True)
    jobs = zip(("ml_exporter", "prometheus", "alertmanager"), ports, strict=True)
    targets = [{"targets": [f"{HOST}:{port}"], "labels": {"__service": job}} for job, port in jobs]
    (folder / "prometheus/targets/local.yml").write_text(yaml.safe_dump(targets))
    routes = folder / "alertmanager/alertmanager.yml"
    text = routes.read_text()
    assert SHIPPED_PAGER in text
    routes.write_text(text.replace(SHIPPED_PAGER, f"http://{HOST}:{receiver}/"))
    (folder / "exporter.yml").write_text(yaml.safe_dump(exporter_config(pace, show, folder)))


def exporter_config(pace: Pace, show: Show, folder: Path) -> Json:
    """Return the demo's configuration at this pace, with its model once for each fault."""
    shipped = (REPOSITORY / "exporter/demo/flights.yml").read_text()
    config: Json = yaml.safe_load(shipped)
    config["exporter"] |= {
        "state": str(folder / "state.duckdb"),
        "evaluation_interval": f"{pace.interval}s",
        # Prometheus takes five seconds to find its targets, and is to see new counters at 0.
        "birth_hold": pace.time(config["exporter"]["birth_hold"], 10),
    }
    # Each model gets a document of its own: they must not share what is changed below.
    config["models"] = [
        model_config(yaml.safe_load(shipped)["models"][0], pace, folder, name) for name in show.models
    ]
    return config


def model_config(model: Json, pace: Pace, folder: Path, name: str) -> Json:
    """Return the demo's model under another name, with logs and a profile of its own."""
    profile = json.loads((REPOSITORY / "exporter/demo" / model["profile"]).read_text())
    (folder / name).mkdir()
    (folder / name / "profile.json").write_text(json.dumps(profile | {"model": name}))
    model |= {"name": name, "profile": str(folder / name / "profile.json")}
    for log in ("predictions", "labels"):
        model[log]["path"] = str(folder / name / f"{log}.jsonl")
    # A window cannot be shorter than a minute. Their names, in seconds, are unknown to the profile, whose
    # 1m means two days: so only the noise of chance counts, as for the demo's longest window.
    windows = [pace.time(window, 60) for window in model["windows"]]
    model |= {"windows": list(dict.fromkeys(windows)), "alert_window": pace.alert_window}
    # Lines are written each second, so a label may be read a second after its time stamp, and a
    # prediction be as old as a night and a few intervals.
    model["labels"] |= {
        "maturity": pace.days(model["labels"]["maturity"], 3),
        "wait": pace.days(model["labels"]["wait"]),
    }
    return model | {"prediction_age_limit": pace.days(model["prediction_age_limit"], 10)}


def programs(
    pace: Pace, show: Show, folder: Path, ports: list[int], prometheus: Path, alertmanager: Path
) -> Iterator[Program]:
    """Yield what is to be started, in this order."""
    data = cut_data(folder / "flights.parquet", show)
    if pace.labels_stop_ahead and "label-stop" in show.faults:
        begin_fault(folder / f"{CLEAN}-label-stop", "label-stop")
    yield from (
        traffic_program(pace, show, folder / name, data, fault) for name, fault in show.models.items()
    )
    logs = [folder / name / f"{log}.jsonl" for name in show.models for log in ("predictions", "labels")]
    listen = [f"--web.listen-address={HOST}:{port}" for port in ports]
    yield Program(
        "alertmanager",
        (
            str(alertmanager),
            f"--config.file={folder / 'alertmanager/alertmanager.yml'}",
            f"--storage.path={folder / 'alertmanager/data'}",
            listen[2],
            "--cluster.listen-address=",
        ),
        lambda: answers(ports[2], "/-/ready") and all(log.exists() for log in logs),
    )
    exporter = (sys.executable, "-m", "ml_exporter", "serve", f"--config.file={folder / 'exporter.yml'}")
    yield Program("exporter", (*exporter, listen[0]), lambda: answers(ports[0], "/-/ready"))
    yield Program(
        "prometheus",
        (
            str(prometheus),
            f"--config.file={folder / 'prometheus/prometheus.yml'}",
            f"--storage.tsdb.path={folder / 'prometheus/data'}",
            # Alerts that fire before Alertmanager is found are sent again after this time.
            f"--rules.alert.resend-delay={pace.time('1m')}",
            listen[1],
        ),
        lambda: answers(ports[1], "/-/ready"),
    )


def traffic_program(pace: Pace, show: Show, folder: Path, data: Path, fault: str) -> Program:
    """Return one model server's stand-in; it is not waited for, so that all of them load at once."""
    script: tuple[str, ...] = (str(REPOSITORY / "exporter/demo/traffic.py"),)
    if fault == "label-stop" and pace.labels_stop_ahead:
        script = (str(Path(__file__).with_name("early_traffic.py")), str(pace.labels_stop_ahead))
    days = (
        "--model",
        CLEAN,
        "--start",
        show.since,
        "--backdate-days",
        str(pace.backdated_days),
        "--day-seconds",
        str(pace.day_seconds),
    )
    files = ("--dir", str(folder), "--fault-file", str(folder / "fault"), "--data", str(data))
    return Program(f"traffic-{folder.name}", (sys.executable, *script, *days, *files))


def cut_data(path: Path, show: Show) -> Path:
    """Write the days that are played to a file of their own, which each traffic process loads quickly."""
    span = f"ts >= '{show.since} 00:00:00+00' AND ts < '{show.until} 00:00:00+00'"
    with duckdb.connect() as connection:
        connection.execute(f"COPY (SELECT * FROM '{traffic.DATA}' WHERE {span}) TO '{path}'")
    return path
