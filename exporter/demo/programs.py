"""The demo's programs: what is started, in which order, on which ports, and when each is ready."""

import os
import secrets
import shutil
import sys
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path

from log_shapes import SHAPES
from supervisor import HOST, Program, accepts, answers

ROOT = Path(__file__).resolve().parents[2]
DEMO = ROOT / "var" / "demo"
RUN = DEMO / "run"
LOGS = DEMO / "logs"
FAULT_FILE = RUN / "fault"
GRAFANA_PASSWORD = DEMO / "grafana-password"

EXPORTER_PORT = 10477
PROMETHEUS_PORT = 9090
ALERTMANAGER_PORT = 9093
PAGER_PORT = 10479
GRAFANA_PORT = 3000
# The demo's windows are minutes where a real model's are hours: waiting times of the alerts shrink alike.
TIME_FACTOR = 60
OPTIONAL = ("pager", "alertmanager", "prometheus", "grafana")

WELCOME = """
Three models that predict late flights are being monitored; a simulated day takes 30 seconds.

{addresses}

What to look at, in the exporter's metrics:
  ml_quality           how good each model is on flights that have landed; with bounds
  ml_quality_estimated what their labels are expected to show, before they come
  ml_drift             how far each feature is from the training data; ml_drift_noise is chance alone
  ml_unavailable       what cannot be told now, and why

{faults}
Logs of all programs:  {logs}
Ctrl-C stops everything.
"""
PAGED = """In another terminal:   make fault shift    breaks the data; a ticket arrives here after four minutes or so
                       make fault none     heals it"""
NOT_PAGED = """In another terminal:   make fault shift    breaks the data, which ml_drift shows
                       make fault none     heals it
Without Prometheus, Alertmanager and the pager no page arrives."""


def tool(*names: str) -> Path | None:
    """Return the first of these programs that `.tools/bin` or the PATH has."""
    search = os.pathsep.join([str(ROOT / ".tools" / "bin"), os.environ.get("PATH", os.defpath)])
    found = (shutil.which(name, path=search) for name in names)
    return next((Path(path) for path in found if path is not None), None)


def traffic() -> Program:
    """The model servers' stand-in: writes predictions and labels to two logs for each model."""
    script = ROOT / "exporter" / "demo" / "traffic.py"
    command = (sys.executable, str(script), "--dir", str(LOGS), "--fault-file", str(FAULT_FILE))
    logs = [log for shape in SHAPES for log in shape.logs(LOGS)]
    return Program("traffic", command, ready=lambda: all(log.exists() for log in logs))


def exporter() -> Program:
    """The exporter on the demo's config."""
    script = Path(sys.executable).with_name("ml_exporter")
    config = ROOT / "exporter" / "demo" / "flights.yml"
    command = (str(script), "serve", "--config.file", str(config))
    listen = ("--web.listen-address", f"{HOST}:{EXPORTER_PORT}")
    return Program("exporter", command + listen, _ready(EXPORTER_PORT, "/-/ready"), EXPORTER_PORT)


def pager() -> Program:
    """The receiver of Alertmanager's notifications: prints each page to the terminal."""
    script = ROOT / "exporter" / "demo" / "pager.py"
    command = (sys.executable, str(script), "--listen", f"{HOST}:{PAGER_PORT}")
    return Program("pager", command, lambda: accepts(PAGER_PORT), PAGER_PORT, shown=True)


def alertmanager(binary: Path) -> Program:
    """Alertmanager on the scaled configuration, alone: without the port of a cluster."""
    command = (
        str(binary),
        f"--config.file={RUN / 'alertmanager' / 'alertmanager.yml'}",
        f"--storage.path={DEMO / 'alertmanager'}",
        f"--web.listen-address={HOST}:{ALERTMANAGER_PORT}",
        "--cluster.listen-address=",
    )
    return Program("alertmanager", command, _ready(ALERTMANAGER_PORT, "/-/ready"), ALERTMANAGER_PORT)


def prometheus(binary: Path) -> Program:
    """Prometheus on the scaled configuration, with a day of history at most."""
    command = (
        str(binary),
        f"--config.file={RUN / 'prometheus' / 'prometheus.yml'}",
        f"--storage.tsdb.path={DEMO / 'prometheus'}",
        "--storage.tsdb.retention.time=1d",
        f"--web.listen-address={HOST}:{PROMETHEUS_PORT}",
        # A minute by default, which is long where an hour of alerting takes a minute.
        "--rules.alert.resend-delay=5s",
    )
    return Program("prometheus", command, _ready(PROMETHEUS_PORT, "/-/ready"), PROMETHEUS_PORT)


def grafana(binary: Path) -> Program:
    """Grafana with the bundle's dashboards, to be looked at without an account, on loopback only."""
    packaged = Path("/usr/share/grafana")
    home = packaged if packaged.is_dir() else binary.resolve().parent.parent
    command = (str(binary), "server", f"--homepath={home}")
    return Program(
        "grafana",
        command,
        _ready(GRAFANA_PORT, "/api/health"),
        GRAFANA_PORT,
        environment=_grafana_settings(),
        patience=120.0,
    )


@dataclass(frozen=True)
class Choice:
    """What will be started, and what will not, by its name and the reason."""

    programs: list[Program]
    left_out: dict[str, str]


def choose(without: Collection[str] = ()) -> Choice:
    """Return the programs to start, in order, but for those in `without` and those that are not here."""
    programs = [traffic(), exporter()]
    left_out = dict.fromkeys(without, "as you asked")
    servers = (
        ("alertmanager", alertmanager, ("alertmanager", "prometheus-alertmanager")),
        ("prometheus", prometheus, ("prometheus",)),
        ("grafana", grafana, ("grafana",)),
    )
    for name, make, known_as in servers:
        binary = tool(*known_as)
        if binary is None:
            left_out[name] = "not found in .tools/bin or on the PATH"
        elif name not in without:
            programs += [pager()] if name == "alertmanager" else []
            programs.append(make(binary))
    return Choice([program for program in programs if program.name not in without], left_out)


def scale_command() -> tuple[str, ...]:
    """Return the command that writes the configuration with shorter times below var/demo/run."""
    script = ROOT / "prometheus" / "scale_rules.py"
    return (sys.executable, str(script), "--factor", str(TIME_FACTOR), "--out", str(RUN))


def welcome(started: Collection[Program]) -> str:
    """Return what the terminal shows once all is running."""
    # Debian's Prometheus has the older pages only, at another path.
    alerts = "/alerts" if answers(PROMETHEUS_PORT, "/alerts") else "/classic/alerts"
    pages = {
        "exporter": ("Metrics", EXPORTER_PORT, "/metrics"),
        "prometheus": ("Alerts", PROMETHEUS_PORT, alerts),
        "alertmanager": ("Pages", ALERTMANAGER_PORT, "/"),
        "grafana": ("Dashboards", GRAFANA_PORT, "/d/ml-fleet"),
    }
    shown = [pages[program.name] for program in started if program.name in pages]
    addresses = "\n".join(f"  {what:<12} http://{HOST}:{port}{path}" for what, port, path in shown)
    paged = {"prometheus", "alertmanager", "pager"} <= {program.name for program in started}
    return WELCOME.format(
        addresses=addresses, faults=PAGED if paged else NOT_PAGED, logs=RUN.relative_to(ROOT)
    )


def write_grafana_password() -> None:
    """Give Grafana's administrator a password of this run; only this user can read it."""
    GRAFANA_PASSWORD.unlink(missing_ok=True)
    GRAFANA_PASSWORD.touch(mode=0o600)
    GRAFANA_PASSWORD.write_text(secrets.token_urlsafe(18), encoding="utf-8")


def _ready(port: int, path: str) -> Callable[[], bool]:
    return lambda: answers(port, path)


def _grafana_settings() -> dict[str, str]:
    return {
        "ML_PROMETHEUS_URL": f"http://{HOST}:{PROMETHEUS_PORT}",
        "GF_SERVER_HTTP_ADDR": HOST,
        "GF_SERVER_HTTP_PORT": str(GRAFANA_PORT),
        "GF_PATHS_DATA": str(DEMO / "grafana"),
        "GF_PATHS_LOGS": str(DEMO / "grafana" / "log"),
        "GF_PATHS_PLUGINS": str(DEMO / "grafana" / "plugins"),
        "GF_PATHS_PROVISIONING": str(ROOT / "grafana" / "provisioning"),
        "GF_SECURITY_ADMIN_PASSWORD": f"$__file{{{GRAFANA_PASSWORD}}}",
        "GF_AUTH_ANONYMOUS_ENABLED": "true",
        "GF_AUTH_ANONYMOUS_ORG_ROLE": "Viewer",
        "GF_ANALYTICS_REPORTING_ENABLED": "false",
        "GF_ANALYTICS_CHECK_FOR_UPDATES": "false",
    }
