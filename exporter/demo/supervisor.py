"""Run a few programs together: start them in order, wait until each is ready, end them all.

Each program gets a session of its own, so that Ctrl-C in the terminal reaches only the supervisor, which then
ends the programs in reverse order, with whatever they started themselves. Should the supervisor itself be
killed, the kernel ends them (Linux).
"""

import ctypes
import http.client
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import BinaryIO

HOST = "127.0.0.1"
POLL_SECONDS = 0.1
GRACE_SECONDS = 10.0
TAIL_LINES = 15
# From <sys/prctl.h>: the signal that a process gets when its parent dies.
PR_SET_PDEATHSIG = 1

Check = Callable[[], bool]


class ProgramError(Exception):
    """A program ended, or did not get ready."""


@dataclass(frozen=True)
class Program:
    """What to start, and how to tell that it is ready.

    `shown` programs print to the terminal, the others to `<name>.log`. `patience` is in seconds.
    """

    name: str
    command: tuple[str, ...]
    ready: Check = lambda: True
    port: int | None = None
    shown: bool = False
    environment: Mapping[str, str] = field(default_factory=dict)
    patience: float = 60.0


def port_is_free(port: int) -> bool:
    """Tell whether a program could listen on this port of the loopback address."""
    with socket.socket() as probe:
        # As servers do: what an ended program left in TIME_WAIT does not count.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True


def answers(port: int, path: str) -> bool:
    """Tell whether GET `path` on this loopback port is answered with 200."""
    connection = http.client.HTTPConnection(HOST, port, timeout=2)
    try:
        connection.request("GET", path)
        return connection.getresponse().status == http.client.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def accepts(port: int) -> bool:
    """Tell whether something listens on this loopback port."""
    try:
        socket.create_connection((HOST, port), timeout=2).close()
    except OSError:
        return False
    return True


def tail(path: Path, lines: int = TAIL_LINES) -> str:
    """Return the last lines of a log, with what is not printable shown as `?`."""
    last = path.read_text(encoding="utf-8", errors="replace").splitlines()[-lines:]
    return "\n".join("  " + "".join(c if c.isprintable() else "?" for c in line) for line in last)


def _dies_with(parent: int) -> Callable[[], None]:
    """Return what a new process does before its program starts: tie its life to `parent`'s."""
    if not sys.platform.startswith("linux"):
        return lambda: None
    libc = ctypes.CDLL(None)

    def tie() -> None:
        libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        # The parent may have died before the line above.
        if os.getppid() != parent:
            os._exit(1)

    return tie


def _signal_group(process: subprocess.Popen[bytes], number: signal.Signals) -> None:
    try:
        os.killpg(process.pid, number)
    except ProcessLookupError:
        return


def _exit(process: subprocess.Popen[bytes]) -> str | None:
    """Return how a process ended, or None while it runs.

    An ended process is not collected here: its id stays taken, so that its group can be signalled safely.
    """
    state = os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT | os.WNOHANG)
    if state is None:
        return None
    if state.si_code == os.CLD_EXITED:
        return f"ended with exit code {state.si_status}"
    return f"was ended by signal {state.si_status} ({signal.strsignal(state.si_status)})"


class Supervisor:
    """Programs that live and end together.

    `folder` is where they run, `logs` where their output goes. Use from the main thread: it takes over
    SIGINT, SIGTERM and SIGHUP, and the kernel ties a process's life to the thread that started it.
    """

    def __init__(self, folder: Path, logs: Path) -> None:
        self._folder = folder
        self._logs = logs
        self._running: list[tuple[Program, subprocess.Popen[bytes]]] = []
        self._signals = 0

    @property
    def asked_to_stop(self) -> bool:
        """Whether a signal has come."""
        return self._signals > 0

    def listen(self) -> None:
        """Take SIGINT, SIGTERM and SIGHUP as the wish to stop, a second one as the wish to stop now."""
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, self._count)

    def start(self, program: Program) -> None:
        """Start a program and wait until it is ready, or a signal comes.

        Raises ProgramError when it, or one that was started before, ends, or when its patience is over.
        """
        self._running.append((program, self._spawn(program)))
        deadline = time.monotonic() + program.patience
        while not self.asked_to_stop:
            self._check_alive()
            if program.ready():
                return
            if time.monotonic() > deadline:
                raise ProgramError(self._report(program, f"was not ready after {program.patience:g} s"))
            time.sleep(POLL_SECONDS)

    def watch(self) -> None:
        """Return when a signal comes. Raises ProgramError when a program ends."""
        while not self.asked_to_stop:
            self._check_alive()
            time.sleep(POLL_SECONDS)

    def stop(self) -> None:
        """End all programs, the newest first; after the grace time, or on one more signal, kill them."""
        deadline = time.monotonic() + GRACE_SECONDS
        signals = self._signals
        for _, process in reversed(self._running):
            _signal_group(process, signal.SIGTERM)
            while _exit(process) is None and time.monotonic() < deadline and self._signals == signals:
                time.sleep(POLL_SECONDS / 2)
            # The program has ended, or has had its time; what it started may live on.
            _signal_group(process, signal.SIGKILL)
            process.wait()
        self._running.clear()

    def _spawn(self, program: Program) -> subprocess.Popen[bytes]:
        if program.shown:
            return self._run(program, None)
        with self._log(program).open("ab") as log:
            return self._run(program, log)

    def _run(self, program: Program, output: BinaryIO | None) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            program.command,
            cwd=self._folder,
            env={**os.environ, "PYTHONUNBUFFERED": "1", **program.environment},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
            preexec_fn=_dies_with(os.getpid()),
        )

    def _check_alive(self) -> None:
        for program, process in self._running:
            how = _exit(process)
            if how is not None:
                raise ProgramError(self._report(program, how))

    def _report(self, program: Program, what: str) -> str:
        if program.shown:
            return f"{program.name} {what}; its output is above"
        log = self._log(program)
        return f"{program.name} {what}; the end of {log}:\n{tail(log)}"

    def _log(self, program: Program) -> Path:
        return self._logs / f"{program.name}.log"

    def _count(self, _number: int, _frame: FrameType | None) -> None:
        self._signals += 1
