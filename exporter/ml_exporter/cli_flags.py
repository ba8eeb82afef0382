"""The flags of each command, and how their values are written."""

from __future__ import annotations

import argparse
from datetime import UTC, datetime
from math import inf
from pathlib import Path

from ml_exporter import log
from ml_exporter.embeddings import CENTROID
from ml_exporter.stats import multivariate
from ml_exporter.stats.distance import METHODS
from ml_exporter.watch import COLLECTORS, NEEDS


def add_serve(command: argparse.ArgumentParser) -> None:
    """Add the flags of `serve`."""
    add = command.add_argument
    add(
        "--web.listen-address",
        dest="listen",
        default="127.0.0.1:10477",
        metavar="HOST:PORT",
        help="address to serve on",
    )
    _add_web_config(command)
    add("--web.enable-lifecycle", dest="lifecycle", action="store_true", help="allow POST /-/reload")
    add(
        "--web.allow-unauthenticated",
        dest="unauthenticated",
        action="store_true",
        help="listen beyond loopback without a password",
    )
    add("--host.proc", dest="proc", type=Path, default=Path("/proc"), metavar="DIR", help="the host's /proc")
    add("--host.sys", dest="sys", type=Path, default=Path("/sys"), metavar="DIR", help="the host's /sys")
    add(
        "--host.root",
        dest="root",
        type=Path,
        default=Path("/"),
        metavar="DIR",
        help="where the host's / is mounted",
    )
    for name in COLLECTORS:
        add(
            f"--collector.{name}",
            dest=name,
            action=argparse.BooleanOptionalAction,
            default=True,
            help=f"run the collector {name}" + (f", which needs {NEEDS[name]}" if name in NEEDS else ""),
        )
    _add_log(command)


def _add_web_config(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--web.config.file",
        dest="web_config",
        type=Path,
        metavar="FILE",
        help="TLS, users with passwords, and headers, as in Prometheus",
    )


def _add_log(command: argparse.ArgumentParser) -> None:
    add = command.add_argument
    add("--log.level", dest="level", choices=log.LEVELS, default="info", help="least severe events to log")
    add("--log.format", dest="style", choices=("logfmt", "json"), default="logfmt", help="form of a log line")


def add_evaluate(command: argparse.ArgumentParser) -> None:
    """Add the flags of `evaluate`."""
    command.add_argument(
        "--at",
        type=_time,
        metavar="TIME",
        help="RFC 3339 time to evaluate at; the newest prediction's by default",
    )


def add_profile(command: argparse.ArgumentParser) -> None:
    """Add the flags of `profile`."""
    add = command.add_argument
    add("--model", metavar="NAME", help="the model in the configuration")
    add("--output", type=Path, metavar="FILE", help="where to write; the configured profile by default")
    add("--since", type=_time, metavar="TIME", help="first time stamp to use")
    add("--until", type=_time, metavar="TIME", help="first time stamp not to use")
    add(
        "--time-scale",
        type=_factor,
        default=1.0,
        metavar="N",
        help="the log is replayed N times as fast as the data",
    )
    add(
        "--trained-at",
        type=_trained_at,
        action="append",
        default=[],
        metavar="[VERSION=]TIME",
        help="when a version's training data end; may be given for each",
    )
    add(
        "--compare",
        nargs=2,
        type=Path,
        metavar=("A", "B"),
        help="print the drift of B from A, each a profile or (with --config.file and --model) data; exit 1 above the limits, or where they cannot be judged",
    )
    add(
        "--limit",
        type=_limit,
        action="append",
        default=[],
        metavar="METHOD=VALUE",
        help="limit to compare by, instead of the configured ones (psi=0.2 where there are none); may be repeated",
    )
    add("data", nargs="*", type=Path, metavar="DATA", help="files in the shape of the prediction log")


def add_suggest(command: argparse.ArgumentParser) -> None:
    """Add the flags of `suggest`."""
    add = command.add_argument
    add("--prometheus", required=True, metavar="URL", help="the Prometheus that scrapes the exporter")
    add(
        "--prometheus.authorization-file",
        dest="authorization",
        type=Path,
        metavar="FILE",
        help="Authorization header for Prometheus",
    )
    add("--days", type=_factor, default=28.0, metavar="N", help="days of history to look at")


def add_hook(command: argparse.ArgumentParser) -> None:
    """Add the flags of `hook`."""
    add = command.add_argument
    add(
        "--web.listen-address",
        dest="listen",
        default="127.0.0.1:10478",
        metavar="HOST:PORT",
        help="address to serve on",
    )
    _add_web_config(command)
    add(
        "--web.bearer-token-file",
        dest="token",
        type=Path,
        metavar="FILE",
        help="token that Alertmanager has to send, instead of a user and a password",
    )
    add(
        "--exporter.url",
        dest="exporter",
        default="http://127.0.0.1:10477/metrics",
        metavar="URL",
        help="the exporter's page, which has to show what an alert says",
    )
    add(
        "--exporter.authorization-file",
        dest="authorization",
        type=Path,
        metavar="FILE",
        help="Authorization header for the exporter's page",
    )
    add(
        "--state.file",
        dest="state",
        type=Path,
        metavar="FILE",
        help="what was asked for, over restarts; hook.db beside exporter.state where left out",
    )
    add("--dry-run", action="store_true", help="log what would be sent, and send and keep nothing")
    _add_log(command)


def _time(text: str) -> int:
    """Parse a time as microseconds since 1970; UTC where it has no zone."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no time; write 2013-06-30T00:00:00Z") from None
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return round(moment.timestamp() * 1_000_000)


def _limit(text: str) -> tuple[str, float]:
    """Parse a method and its limit."""
    method, _, value = text.partition("=")
    known = (*METHODS, CENTROID, *multivariate.METHODS)
    if method not in known:
        raise argparse.ArgumentTypeError(f"{method!r} is no method; known: {', '.join(known)}")
    limit = float(value)
    if not 0 <= limit < inf:
        raise argparse.ArgumentTypeError("must be 0 or above")
    return method, limit


def _trained_at(text: str) -> tuple[str | None, int]:
    """Parse a time, or a version and its time."""
    version, _, time = text.rpartition("=")
    return version or None, _time(time)


def _factor(text: str) -> float:
    value = float(text)
    if not value > 0:
        raise argparse.ArgumentTypeError("must be above 0")
    return value
