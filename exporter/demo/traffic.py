"""Play the demo's model servers: append each model's predictions to one log and late labels to another.

A simulated day takes 30 seconds by default. At start the first 30 days are back-dated over the
last 15 minutes; from then on predictions and labels follow live, until a signal ends the program.
When the year is over it starts again, with fresh ids. ``--dump DIR`` writes the logs of the whole
year at once instead, with the time stamps of 2013. log_shapes.py has the models.
"""

import argparse
import signal
import sys
import threading
import time
from collections.abc import Sequence
from datetime import date
from pathlib import Path

import duckdb
import dump
import faults
import replay
from log_shapes import MODELS, SHAPES, Shape
from logs import RotatedLog

TICK_SECONDS = 1.0
DATA = Path(__file__).with_name("flights.parquet")


class Stream:
    """One model's two logs and what feeds them."""

    def __init__(
        self, shape: Shape, flights: duckdb.DuckDBPyConnection, args: argparse.Namespace, now: float
    ) -> None:
        self.predictions, self.labels = (RotatedLog(path, args.rotate_bytes) for path in shape.logs(args.dir))
        origin = now - args.backdate_days * args.day_seconds
        # After a restart the log goes on where it stopped; it never gets older rows after newer ones.
        last = self.predictions.last_stamp()
        begin = origin if last is None else min(now, max(origin, last + 0.001))
        start_ms, run = replay.day_ms(args.start), format(int(now), "x")
        self.replay = replay.Replay(flights, shape, start_ms, args.day_seconds, origin, begin, run)

    def backlog(self, now: float, active: frozenset[str]) -> int:
        """Write what was due before the start, labels first, each log in one piece; returns the predictions."""
        predictions = self.replay.predictions(now, active)
        labels = self.replay.labels(now, active)
        for log, lines in ((self.labels, labels), (self.predictions, predictions)):
            if log.path.exists():
                log.append(lines)
            else:
                log.create(lines)
        return len(predictions)

    def tick(self, now: float, active: frozenset[str]) -> None:
        """Append what became due since the last tick."""
        self.predictions.append(self.replay.predictions(now, active))
        self.labels.append(self.replay.labels(now, active))


class Traffic:
    """The streams of the models, and the faults that are on."""

    def __init__(self, args: argparse.Namespace, now: float) -> None:
        self._flags = frozenset(args.fault)
        self._fault_file: Path | None = args.fault_file
        self._reported = ""
        self._laps = 1
        flights = replay.load(args.data, replay.day_ms(args.start))
        chosen = args.model or MODELS
        self.streams = [Stream(shape, flights, args, now) for shape in SHAPES if shape.model in chosen]

    def backlog(self, now: float) -> int:
        """Write what was due before the start, labels first; returns the number of predictions."""
        active = self.active() - faults.LIVE_ONLY
        return sum(stream.backlog(now, active) for stream in self.streams)

    def tick(self, now: float) -> None:
        """Append what became due since the last tick."""
        active = self.active()
        for stream in self.streams:
            stream.tick(now, active)
        laps = max(stream.replay.laps for stream in self.streams)
        if laps > self._laps:
            self._laps = laps
            say("the year is over; it starts again, with fresh ids")

    def active(self) -> frozenset[str]:
        """The faults that are on: those of the fault file where it exists, else those of the flags."""
        if self._fault_file is None or not self._fault_file.exists():
            return self._flags
        text = self._fault_file.read_text(errors="replace")
        known, unknown = faults.parse_faults(text)
        if text != self._reported:
            self._reported = text
            say(f"faults: {', '.join(sorted(known)) or 'none'}")
            if unknown:
                say(f"unknown faults in {self._fault_file}: {', '.join(map(repr, unknown))}")
        return known


def say(text: str) -> None:
    """Print one line for whoever watches the demo."""
    print(f"traffic: {text}", flush=True)


def serve(args: argparse.Namespace) -> int:
    """Write the backlog, then a tick every second until SIGTERM or SIGINT; returns the exit code."""
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    traffic = Traffic(args, time.time())
    rows = traffic.backlog(time.time())
    say(f"{rows} predictions back-dated into {args.dir}; a day takes {args.day_seconds:g} s")
    while not stop.wait(TICK_SECONDS):
        traffic.tick(time.time())
    say("stopped")
    return 0


def parser() -> argparse.ArgumentParser:
    """The command line."""
    result = argparse.ArgumentParser(description="Play the flight-delay demo's model server.")
    add = result.add_argument
    add("--dir", type=Path, default=Path("var/demo/logs"), help="where the logs go (%(default)s)")
    add("--data", type=Path, default=DATA, help="the flights (%(default)s)")
    add("--day-seconds", type=_positive, default=30.0, help="length of a simulated day (%(default)s)")
    add("--start", type=date.fromisoformat, default=date(2013, 4, 1), help="first day, UTC (%(default)s)")
    add("--backdate-days", type=_not_negative, default=30.0, help="days written at start (%(default)s)")
    add("--model", action="append", choices=MODELS, help="a model to play; repeatable (all of them)")
    add("--rotate-bytes", type=_bytes, default=16 << 20, help="size at which a log rotates (%(default)s)")
    add("--fault", action="append", default=[], choices=faults.FAULTS, help="a fault to play; repeatable")
    add("--fault-file", type=Path, help="read each second: one fault a line; it overrules --fault")
    add("--dump", type=Path, metavar="DIR", help="write all logs with the time stamps of 2013, and exit")
    add("--labelled", action="store_true", help="with --dump: MODEL.parquet, labels in it, for profiles")
    add("--since", type=date.fromisoformat, help="with --dump: first day, UTC (--start)")
    add("--until", type=date.fromisoformat, help="with --dump: day before which to end, UTC (the end)")
    return result


def _positive(text: str) -> float:
    number = float(text)
    if not 0 < number < float("inf"):
        raise argparse.ArgumentTypeError(f"{text} is not a positive number")
    return number


def _not_negative(text: str) -> float:
    return 0.0 if float(text) == 0 else _positive(text)


def _bytes(text: str) -> int:
    number = int(text)
    if number <= 0:
        raise argparse.ArgumentTypeError(f"{text} is not a positive number of bytes")
    return number


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    command = parser()
    args = command.parse_args(argv)
    if args.dump is None and (args.since or args.until or args.labelled):
        command.error("--since, --until and --labelled go with --dump")
    if args.dump is None:
        return serve(args)
    if args.fault or args.fault_file:
        command.error("--dump writes what happened in 2013, without faults")
    write = dump.write_labelled if args.labelled else dump.write
    counts = write(args.data, args.dump, args.since or args.start, args.until, args.model or MODELS)
    for model, (predictions, labels) in counts.items():
        say(f"{model}: {predictions} predictions and {labels} labels in {args.dump}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
