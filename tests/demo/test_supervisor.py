"""Programs that live and end together: real processes, real signals."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import supervisor
from supervisor import Program, ProgramError, Supervisor

# A supervisor as the demo's: argv is the folder and the programs, each a piece of Python.
DRIVER = """
import sys
from pathlib import Path
from supervisor import *
folder = Path(sys.argv[1])
boss = Supervisor(folder, folder)
boss.listen()
try:
    for number, code in enumerate(sys.argv[2:]):
        mark = folder / f"{number}.pid"
        boss.start(Program(f"p{number}", (sys.executable, "-c", code, str(mark)), ready=mark.exists))
    print("started", flush=True)
    boss.watch()
except ProgramError as error:
    print(error, flush=True)
    sys.exit(1)
finally:
    boss.stop()
"""
WRITE_PID = """
import os, signal, subprocess, sys, time
def write(pid): open(sys.argv[1] + ".new", "w").write(str(pid)); os.rename(sys.argv[1] + ".new", sys.argv[1])
"""
SLEEPER = WRITE_PID + "write(os.getpid()); time.sleep(60)"
STUBBORN = WRITE_PID + "signal.signal(signal.SIGTERM, signal.SIG_IGN); write(os.getpid()); time.sleep(60)"
# Ends at once when asked, but leaves a child of its own that ignores the wish.
PARENT = (
    WRITE_PID
    + "child = subprocess.Popen([sys.executable, '-c', 'import signal, time; "
    + "signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(60)']); write(child.pid); time.sleep(60)"
)
MORTAL = WRITE_PID + "write(os.getpid()); time.sleep(0.3); print('out of \\x1b[31mmemory'); sys.exit(3)"


def alive(process_id: int) -> bool:
    """Tell whether a process runs; one that ended and waits to be collected does not."""
    try:
        state = Path(f"/proc/{process_id}/stat").read_text(encoding="ascii").rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"


def eventually(condition: Callable[[], bool], seconds: float = 10.0) -> bool:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


class Driven:
    """A running driver and the processes below it."""

    def __init__(self, folder: Path, *codes: str) -> None:
        self.folder = folder
        self.process = subprocess.Popen(
            [sys.executable, "-c", DRIVER, str(folder), *codes],
            env={**os.environ, "PYTHONPATH": str(Path(supervisor.__file__).parent)},
            stdout=subprocess.PIPE,
            text=True,
        )

    def started(self) -> None:
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == "started\n"

    def below(self) -> list[int]:
        return [int(path.read_text()) for path in sorted(self.folder.glob("*.pid"))]

    def end(self) -> tuple[int, str]:
        output, _ = self.process.communicate(timeout=20)
        return self.process.returncode, output


@pytest.fixture
def drive(tmp_path: Path) -> Iterator[Callable[..., Driven]]:
    made: list[Driven] = []

    def start(*codes: str) -> Driven:
        made.append(Driven(tmp_path, *codes))
        return made[-1]

    yield start
    for driven in made:
        driven.process.kill()
        driven.process.communicate()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_all(drive: Callable[..., Driven], number: signal.Signals) -> None:
    driven = drive(SLEEPER, PARENT)
    driven.started()
    below = driven.below()
    assert [alive(process_id) for process_id in below] == [True, True]
    driven.process.send_signal(number)
    assert driven.end()[0] == 0
    assert eventually(lambda: not any(alive(process_id) for process_id in below))


def test_killing_the_supervisor_leaves_no_program(drive: Callable[..., Driven]) -> None:
    driven = drive(SLEEPER, STUBBORN)
    driven.started()
    driven.process.kill()
    assert driven.end()[0] == -signal.SIGKILL
    assert eventually(lambda: not any(alive(process_id) for process_id in driven.below()))


def test_a_second_signal_kills_what_does_not_end(drive: Callable[..., Driven]) -> None:
    driven = drive(STUBBORN)
    driven.started()
    driven.process.send_signal(signal.SIGINT)
    time.sleep(0.5)
    assert alive(driven.below()[0])
    began = time.monotonic()
    driven.process.send_signal(signal.SIGINT)
    assert driven.end()[0] == 0
    assert time.monotonic() - began < supervisor.GRACE_SECONDS / 2
    assert not alive(driven.below()[0])


def test_a_program_that_dies_ends_the_rest(drive: Callable[..., Driven]) -> None:
    driven = drive(SLEEPER, MORTAL)
    code, output = driven.end()
    assert code == 1
    assert "p1 ended with exit code 3" in output
    # What a log says must not steer the terminal.
    assert "out of ?[31mmemory" in output
    assert not any(alive(process_id) for process_id in driven.below())


def test_a_program_that_is_killed_is_named_with_its_signal(drive: Callable[..., Driven]) -> None:
    driven = drive(SLEEPER, SLEEPER)
    driven.started()
    os.kill(driven.below()[0], signal.SIGKILL)
    code, output = driven.end()
    assert code == 1
    assert "p0 was ended by signal 9 (Killed)" in output


def test_a_program_that_gets_never_ready_is_named(tmp_path: Path) -> None:
    boss = Supervisor(tmp_path, tmp_path)
    slow = Program("slow", ("sleep", "60"), ready=lambda: False, patience=0.2)
    try:
        with pytest.raises(ProgramError, match=r"slow was not ready after 0\.2 s; the end of .*slow\.log"):
            boss.start(slow)
    finally:
        boss.stop()


def test_tail_shows_the_last_lines(tmp_path: Path) -> None:
    log = tmp_path / "a.log"
    log.write_bytes(b"one\ntwo\nthr\xffee\x07\n")
    assert supervisor.tail(log, lines=2) == "  two\n  thr\ufffdee?"
