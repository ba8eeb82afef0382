"""The command line: what each command does with its flags, which `cli_flags` has, nothing else."""

from __future__ import annotations

import argparse
import os
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from prometheus_client import generate_latest

from ml_exporter import __version__, log
from ml_exporter.check import report_check
from ml_exporter.cli_flags import add_evaluate, add_hook, add_profile, add_serve, add_suggest
from ml_exporter.config import ConfigError, load
from ml_exporter.engine import Engine, load_layouts
from ml_exporter.hook.app import area as hook_area
from ml_exporter.hook.app import create_app as create_hook_app
from ml_exporter.hook.start import Options, applicable, check_access
from ml_exporter.hook.start import build as build_hook
from ml_exporter.profile import ProfileError
from ml_exporter.profile_command import Wanted, compare_references, is_profile, make_profile, model_of
from ml_exporter.service import Service
from ml_exporter.snapshot import config_families, log_families, series_of
from ml_exporter.state_file import StateError
from ml_exporter.store import Store
from ml_exporter.suggest.prometheus import Prometheus
from ml_exporter.suggest.report import report
from ml_exporter.watch import COLLECTORS, HostPaths
from ml_exporter.web.app import create_app
from ml_exporter.web.auth import Guard
from ml_exporter.web.push import Push
from ml_exporter.web.server import check_listen_host, parse_listen_address, serve
from ml_exporter.web.web_config import WebFile

_EVALUATE_MEMORY = "140MB"
"""Of the waiting rows; with less they take longer."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns 0 when all is well, 1 on failure, 2 on wrong usage."""
    flags = parser().parse_args(arguments)
    command: Callable[[argparse.Namespace], int] = flags.run
    try:
        return command(flags)
    except (ConfigError, ProfileError, StateError, OSError, ValueError) as error:
        if "style" in flags:
            # Who reads the log of a service reads why it does not run there, too.
            log.fatal(flags.level, flags.style, error)
        else:
            print(str(error) if isinstance(error, ConfigError) else f"ml_exporter: {error}", file=sys.stderr)
        return 1


def parser() -> argparse.ArgumentParser:
    """Return the parser of all commands and flags."""
    root = argparse.ArgumentParser(
        prog="ml_exporter", description="Prometheus exporter for machine-learning models."
    )
    root.add_argument("--version", action="version", version=f"ml_exporter {__version__}")
    commands = root.add_subparsers(metavar="COMMAND", required=True)
    add_serve(_command(commands, "serve", _serve, "read logs, serve /metrics"))
    add_evaluate(_command(commands, "evaluate", _evaluate, "read all logs to their end once, print the page"))
    _command(commands, "check", _check, "validate config, profiles and paths; print series per family")
    add_profile(
        _command(
            commands,
            "profile",
            _profile,
            "build a reference profile from a prediction log, or compare two",
            configured=False,
        )
    )
    add_hook(_command(commands, "hook", _hook, "receive Alertmanager's webhook and ask for retraining"))
    add_suggest(
        _command(
            commands, "suggest", _suggest, "propose targets and limits from history, and try the alerts on it"
        )
    )
    return root


def _command(
    commands: argparse._SubParsersAction[argparse.ArgumentParser],
    name: str,
    run: Callable[[argparse.Namespace], int],
    text: str,
    configured: bool = True,
) -> argparse.ArgumentParser:
    command = commands.add_parser(name, help=text, description=text)
    command.add_argument(
        "--config.file", dest="config", type=Path, required=configured, metavar="FILE", help="configuration"
    )
    command.set_defaults(run=run, misused=command.error)
    return command


def _serve(flags: argparse.Namespace) -> int:
    stop = _stopped_by_signals()
    # A reload that comes before there is anything to load again must not end it.
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    # The state and its log hold what models answered: nobody else's business.
    os.umask(0o077)
    # A scrape needs the interpreter many times; with the default of 5 ms each turn, one that comes while
    # a page is being written would take a tenth of a second.
    sys.setswitchinterval(0.0005)
    logger = log.configure(flags.level, flags.style)
    config = load(flags.config)
    host, port = parse_listen_address(flags.listen)
    web = WebFile(flags.web_config, lambda error: service.report("web_config", error))
    authenticates = web.current().config.authenticates
    check_listen_host(host, allow_unauthenticated=flags.unauthenticated or authenticates)
    web.require(config.exporter.access)
    if config.exporter.state is None:
        logger.warning(
            "exporter.state is not set: nothing survives a restart, and logs are read from their end"
        )
    disabled = frozenset(name for name in COLLECTORS if not getattr(flags, name))
    service = Service(
        config,
        Store(config.exporter.state),
        logger,
        HostPaths(flags.proc, flags.sys, flags.root),
        disabled,
        web.require,
    )
    log.count_others(lambda: service.count("web"))
    signal.signal(signal.SIGHUP, lambda *_: threading.Thread(target=_reload, args=(service,)).start())
    app = Guard(
        create_app(service, lifecycle=flags.lifecycle, more=Push(service.spools, service.report).routes()),
        web,
        lambda: service.access,
    )
    server = serve(app, host, port, web.tls)
    service.start()
    logger.info("listening on %s:%d", *server.address)
    stop.wait()
    service.halt()
    server.stop()
    service.stop()
    return 0


def _stopped_by_signals() -> threading.Event:
    """Return what is set once the process is to end.

    From the first moment on, so that being stopped while starting is a clean end as well.
    """
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    return stop


def _hook(flags: argparse.Namespace) -> int:
    stop = _stopped_by_signals()
    os.umask(0o077)
    logger = log.configure(flags.level, flags.style)
    config = load(flags.config)
    host, port = parse_listen_address(flags.listen)
    web = WebFile(flags.web_config, lambda error: logger.error("web config: %s", error))
    check_access(host, web, flags.token)
    options = Options(flags.exporter, flags.authorization, flags.state, flags.token, flags.dry_run)
    hook = build_hook(config, options, logger)
    app = Guard(
        create_hook_app(hook, logger, flags.token),
        web,
        lambda: applicable(config.exporter.access, web),
        hook_area,
    )
    server = serve(app, host, port, web.tls)
    hook.start()
    logger.info("listening on %s:%d", *server.address)
    stop.wait()
    server.stop()
    hook.stop()
    return 0


def _suggest(flags: argparse.Namespace) -> int:
    config = load(flags.config)
    text, problems = report(
        config, Prometheus(flags.prometheus, flags.authorization), flags.days, time.time()
    )
    sys.stdout.write(text)
    for problem in problems:
        print(f"ml_exporter: {problem}", file=sys.stderr)
    return 1 if problems else 0


def _reload(service: Service) -> None:
    # The service has logged and counted what is wrong, and goes on with the old configuration.
    with suppress(Exception):
        service.reload()


def _evaluate(flags: argparse.Namespace) -> int:
    config = load(flags.config)
    layouts = load_layouts(config)
    # What waits for labels may be more than memory holds; the exporter's own state is not touched.
    with tempfile.TemporaryDirectory(prefix="ml_exporter-") as folder:
        store = Store(Path(folder) / "state.duckdb", _EVALUATE_MEMORY)
        snapshot = Engine(config, layouts, store).run_once(flags.at)
        store.close()
    thresholds = config_families((model, layouts[model.name]) for model in config.models)
    found, _ = log_families(snapshot, 0.0, config.exporter.series_limit - series_of(thresholds))
    sys.stdout.buffer.write(generate_latest(thresholds) + generate_latest(found))
    problems = [(source, problem) for source in snapshot.sources for problem in source.problems]
    for source, problem in problems:
        print(f"ml_exporter: {source.source} of {source.model}: {problem}", file=sys.stderr)
    return 1 if problems else 0


def _check(flags: argparse.Namespace) -> int:
    return report_check(flags.config)


def _profile(flags: argparse.Namespace) -> int:
    wanted = Wanted(flags.data, flags.since, flags.until, flags.time_scale, flags.trained_at)
    named = flags.config is not None and flags.model is not None
    if flags.compare:
        if flags.data or flags.output or flags.trained_at:
            flags.misused("--compare A B takes no DATA, no --output and no --trained-at")
        if not named and not all(map(is_profile, flags.compare)):
            flags.misused("to compare data, --config.file and --model have to say what they are")
        model = model_of(load(flags.config), flags.model) if named else None
        first, second = flags.compare
        return int(compare_references(model, first, second, dict(flags.limit), wanted))
    if not named or not flags.data:
        flags.misused("--config.file, --model and DATA are required")
    make_profile(load(flags.config), flags.model, flags.output, wanted)
    return 0
