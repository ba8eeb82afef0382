"""The demo in one terminal: a model server's traffic, the exporter, Prometheus, Alertmanager and a pager.

    run.py start [--keep] [--without NAME]    start all of it; Ctrl-C stops all of it
    run.py stop                               stop the one that runs in another terminal
    run.py fault NAME...                      break its traffic on purpose; `none` heals it

It needs no more than Python's standard library. All that it writes is below var/demo.
"""

import argparse
import fcntl
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import programs
from faults import FAULTS
from supervisor import HOST, Program, ProgramError, Supervisor, port_is_free

STOP_SECONDS = 30.0


class DemoError(Exception):
    """Why a command cannot do what was asked, with the remedy."""


def lock_file() -> Path:
    """Return the file that a running demo holds a lock on; it holds the supervisor's process id."""
    return programs.RUN / "supervisor.pid"


def running_demo() -> int | None:
    """Return the process id of the supervisor that runs, or None."""
    try:
        with lock_file().open() as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return None
    except BlockingIOError:
        return int(lock_file().read_text(encoding="ascii"))
    return None


@contextmanager
def only_one() -> Iterator[None]:
    """Hold the demo's lock. Raises DemoError when another demo has it. The lock ends with the process."""
    programs.RUN.mkdir(parents=True, exist_ok=True)
    with lock_file().open("a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise DemoError(
                f"the demo runs already (process {running_demo()}); `make stop` ends it"
            ) from None
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        yield


def check_ports(wanted: Iterable[Program]) -> None:
    """Raise DemoError when a port is taken, naming all of these."""
    taken = [p for p in wanted if p.port is not None and not port_is_free(p.port)]
    if not taken:
        return
    lines = [
        f"port {p.port} on {HOST} is taken; {p.name} needs it (who has it: ss -ltnp 'sport = :{p.port}')"
        for p in taken
    ]
    spare = [p.name for p in taken if p.name not in ("traffic", "exporter")]
    lines.append("Stop what listens there, then try again.")
    if len(spare) == len(taken):
        lines.append(f"Or do without: make run RUN_FLAGS='{' '.join(f'--without {name}' for name in spare)}'")
    raise DemoError("\n".join(lines))


def clear_last_run(keep: bool) -> None:
    """Remove what an earlier run left; with `keep`, its logs, state and history stay."""
    for path in programs.RUN.iterdir():
        if path != lock_file():
            _remove(path)
    if not keep:
        for path in programs.DEMO.iterdir():
            if path != programs.RUN:
                _remove(path)
    programs.LOGS.mkdir(exist_ok=True)


def write_configuration() -> None:
    """Write Prometheus' and Alertmanager's configuration with the demo's shorter times."""
    done = subprocess.run(programs.scale_command(), cwd=programs.ROOT, capture_output=True, text=True)
    if done.returncode != 0:
        raise DemoError(f"the rules could not be scaled for the demo:\n{done.stderr.strip()}")


def start(keep: bool, without: Sequence[str]) -> int:
    """Run the demo until a signal comes (0) or one of its programs ends (1)."""
    choice = programs.choose(without)
    with only_one():
        check_ports(choice.programs)
        clear_last_run(keep)
        names = {program.name for program in choice.programs}
        if names & {"prometheus", "alertmanager"}:
            write_configuration()
        if "grafana" in names:
            programs.write_grafana_password()
        for name, why in choice.left_out.items():
            _say(f"going on without {name} ({why})")
        return _supervise(choice.programs)


def stop() -> int:
    """Ask the running demo to stop, and wait until it has."""
    process = running_demo()
    if process is None:
        return 0
    os.kill(process, signal.SIGTERM)
    deadline = time.monotonic() + STOP_SECONDS
    while running_demo() == process:
        if time.monotonic() > deadline:
            raise DemoError(f"process {process} did not stop within {STOP_SECONDS:g} s")
        time.sleep(0.1)
    _say("stopped")
    return 0


def fault(names: Sequence[str], known: Sequence[str]) -> int:
    """Give the running traffic these faults, in place of those it has. Raises DemoError on unknown names."""
    unknown = [name for name in names if name not in known and name != "none"]
    if unknown or not names:
        what = f"no fault is called {', '.join(unknown)}" if unknown else "which fault?"
        raise DemoError(f"{what}\nmake fault NAME, where NAME is one of: {', '.join([*known, 'none'])}")
    if running_demo() is None:
        raise DemoError("no demo is running; `make run` in another terminal starts one")
    # Renamed into place, so that the traffic never reads half a list.
    draft = programs.FAULT_FILE.with_suffix(".new")
    draft.write_text("".join(f"{name}\n" for name in names), encoding="utf-8")
    draft.replace(programs.FAULT_FILE)
    _say(f"fault {' '.join(names)}; `make fault none` heals it" if names != ["none"] else "healed")
    return 0


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit code."""
    options = _parser().parse_args(arguments)
    try:
        if options.command == "start":
            return start(options.keep, options.without)
        if options.command == "stop":
            return stop()
        return fault(options.names, FAULTS)
    except DemoError as error:
        print(f"demo: {error}", file=sys.stderr)
        return 1


def _supervise(wanted: Sequence[Program]) -> int:
    supervisor = Supervisor(programs.ROOT, programs.RUN)
    supervisor.listen()
    try:
        for program in wanted:
            if not supervisor.asked_to_stop:
                _say(f"starting {program.name}")
                supervisor.start(program)
        if not supervisor.asked_to_stop:
            print(programs.welcome(wanted), flush=True)
        supervisor.watch()
    except ProgramError as error:
        print(f"demo: {error}\ndemo: stopping the rest", file=sys.stderr, flush=True)
        return 1
    finally:
        supervisor.stop()
    _say("all stopped")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="run.py", description="The demo in one terminal.")
    commands = parser.add_subparsers(dest="command", required=True)
    begin = commands.add_parser("start", help="start all of it; Ctrl-C stops all of it")
    begin.add_argument("--keep", action="store_true", help="keep the logs and the state of the last run")
    begin.add_argument(
        "--without", action="append", default=[], choices=programs.OPTIONAL, help="do not start this one"
    )
    commands.add_parser("stop", help="stop the demo that runs in another terminal")
    commands.add_parser("fault", help="break the running traffic on purpose").add_argument("names", nargs="*")
    return parser


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink()


def _say(text: str) -> None:
    print(f"demo: {text}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
