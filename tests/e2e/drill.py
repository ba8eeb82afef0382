"""`make drill`: every fault of the demo, and three of the exporter itself, on the real bundle.

    PYTHONPATH=exporter/demo python -m tests.e2e.drill [--seconds 120]

One exporter watches a model for each fault and one without, under the shipped rules at a quicker pace.
First nothing is wrong for so many seconds, then all faults begin at once and last as long; then the
exporter gets a broken configuration, a disk fills, and the exporter is killed. Prints what each fault
brought to the pager, and exits with 1 where one was missed or explained wrongly, or where anybody was
paged without a cause.
"""

from __future__ import annotations

import argparse
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from tests.e2e.expected import DRILLED, NOT_JUDGED
from tests.e2e.receiver import Page
from tests.e2e.stack import Pace, Show, Stack, running

PACE = Pace(faster=5, factor=120, interval=2, patience=120, labels_stop_ahead=0, slower=2)
EXPECTED = {
    "shift": "MLModelDrift",
    "missing": "MLInputViolations",
    "unseen-category": "MLInputViolations",
    "schema": "MLSchemaChanged",
    "label-stop": "MLLabelsStopped",
    "label-delay": "MLLabelsStopped",
    "traffic-stop": "MLNoPredictions",
    "latency": "MLLatencyBudgetBurn",
    "errors": "MLErrorBudgetBurn",
    "garbage-lines": "MLRowsRejected",
    "flip": "MLQualityBelowTarget",
}
"""The alert that explains each fault of the traffic."""
DISK_BYTES = 64 << 20


@dataclass(frozen=True)
class Outcome:
    """What one fault has brought: `seconds` to its page (None: missed), and the names of other pages.

    `wrong` are those that it should not have brought.
    """

    fault: str
    expected: str
    seconds: float | None
    text: str = ""
    others: tuple[str, ...] = ()
    wrong: tuple[str, ...] = ()
    note: str = ""

    @property
    def passed(self) -> bool:
        """Whether it was found, and nothing was said that is wrong."""
        return (self.seconds is not None or bool(self.note)) and not self.wrong

    def row(self) -> str:
        """Return a line of the table."""
        found = f"{self.seconds:.0f} s" if self.seconds is not None else self.note or "**missed**"
        others = ", ".join((*self.others, *(f"**{name}**" for name in self.wrong))) or "-"
        return f"| {self.fault} | {self.expected} | {found} | {others} | {self.text} |"


@dataclass
class Drill:
    """The pages of a running bundle, as they come."""

    stack: Stack
    outcomes: list[Outcome] = field(default_factory=list)

    def calm(self, seconds: float) -> list[Page]:
        """Let nothing be wrong for so long, and return the pages of that time."""
        begun = time.monotonic()
        time.sleep(seconds)
        return self._since(begun)

    def break_models(self, seconds: float) -> None:
        """Let all faults of the traffic begin, and last so long."""
        begun = time.monotonic()
        self.stack.break_all()
        time.sleep(seconds)
        pages = self._since(begun)
        for model, fault in self.stack.show.models.items():
            own = [page for page in pages if page.labels.get("model") == model]
            if fault in EXPECTED:
                self._note(fault, EXPECTED[fault], own, begun, DRILLED[fault])
            elif own:
                self.outcomes.append(Outcome("none", "nothing", 0.0, wrong=names(own)))
        loose = [page for page in pages if "model" not in page.labels]
        if loose:
            self.outcomes.append(Outcome("none", "nothing", 0.0, wrong=names(loose)))

    def break_exporter(self, fault: str, expected: str, begin: Callable[[], None]) -> None:
        """Let a fault of the exporter begin, and wait for its page."""
        begun = time.monotonic()
        begin()
        self.stack.wait(lambda: any(page.name == expected for page in self._since(begun, everything=True)))
        found = [page for page in self._since(begun, everything=True) if "model" not in page.labels]
        judged = [page for page in found if page.name == expected or page.name not in NOT_JUDGED]
        self._note(fault, expected, judged, begun, {expected})

    def _since(self, begun: float, everything: bool = False) -> list[Page]:
        pages = [page for page in self.stack.pages() if page.at >= begun]
        return pages if everything else [page for page in pages if page.name not in NOT_JUDGED]

    def _note(
        self, fault: str, expected: str, pages: Sequence[Page], begun: float, allowed: set[str]
    ) -> None:
        found = [page for page in pages if page.name == expected]
        others = [page for page in pages if page.name != expected]
        self.outcomes.append(
            Outcome(
                fault,
                expected,
                found[0].at - begun if found else None,
                found[0].annotations["description"] if found else "",
                names(page for page in others if page.name in allowed),
                names(page for page in others if page.name not in allowed),
            )
        )


def names(pages: Sequence[Page] | Iterator[Page]) -> tuple[str, ...]:
    """Return the alerts' names, each once."""
    return tuple(sorted({page.name for page in pages}))


@contextmanager
def small_disk(folder: Path) -> Iterator[Path | None]:
    """Yield a folder with a disk of its own, None where this user may not mount one."""
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "ml_exporter_drill", str(folder)]
    try:
        subprocess.run(mount, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        yield None
        return
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def break_configuration(stack: Stack) -> None:
    """Let the exporter load a configuration that is wrong."""
    path = stack.folder / "exporter.yml"
    path.rename(path.with_suffix(".sound"))
    path.write_text("models: [{name: flight-delay, taks: binary}]\n")
    stack.signal_exporter(signal.SIGHUP)


def mend_configuration(stack: Stack) -> None:
    """Let it load the sound one again."""
    path = stack.folder / "exporter.yml"
    path.with_suffix(".sound").rename(path)
    stack.signal_exporter(signal.SIGHUP)
    stack.wait(lambda: stack.query("ml_exporter_config_last_reload_successful == 1"))


def fill(disk: Path) -> None:
    """Leave a fiftieth of the disk."""
    (disk / "ballast").write_bytes(b"x" * (DISK_BYTES * 49 // 50))


def play(stack: Stack, disk: Path | None, seconds: float) -> tuple[list[Page], list[Outcome]]:
    """Play all faults; return the pages of the time before, and what each fault brought."""
    drill = Drill(stack)
    calm = drill.calm(seconds)
    drill.break_models(seconds)
    drill.break_exporter("broken configuration", "MLReloadFailed", lambda: break_configuration(stack))
    mend_configuration(stack)
    if disk is None:
        note = "not played: this user may not mount a disk"
        drill.outcomes.append(Outcome("disk filling", "MLDiskFillingUp", None, note=note))
    else:
        drill.break_exporter("disk filling", "MLDiskFillingUp", lambda: fill(disk))
    drill.break_exporter("exporter killed", "MLExporterDown", stack.kill_exporter)
    return calm, drill.outcomes


def main() -> int:
    """Run the drill, print the table, and tell by the exit code whether it went well."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=120.0, help="length of the calm, and of the faults")
    flags = parser.parse_args()
    begun = time.monotonic()
    with (
        tempfile.TemporaryDirectory(prefix="ml_exporter-drill-") as name,
        small_disk(Path(name, "disk")) as disk,
    ):
        folder = Path(name, "bundle")
        folder.mkdir()
        with running(PACE, folder, Show(tuple(EXPECTED))) as stack:
            if not (stack.wait(stack.judges) and stack.wait(stack.counts)):
                print("drill: the bundle did not get ready:", stack.query("ml_unavailable"), file=sys.stderr)
                return 1
            # What its own start set off, as a list of targets that was empty for some seconds, is not its subject.
            time.sleep(PACE.longest_wait)
            calm, outcomes = play(stack, disk, flags.seconds)
    print(table(calm, outcomes, flags.seconds, time.monotonic() - begun))
    return 0 if not calm and all(outcome.passed for outcome in outcomes) else 1


def table(calm: Sequence[Page], outcomes: Sequence[Outcome], seconds: float, whole: float) -> str:
    """Return what happened as a table in Markdown."""
    quiet = (
        ", ".join(f"{page.name} of {page.labels.get('model', '-')}" for page in calm) or "nobody was paged"
    )
    lines = [
        f"Before the faults, for {seconds:.0f} s: {quiet}. All of it took {whole / 60:.1f} minutes.",
        "",
        "| fault | alert expected | arrived after | also arrived | text |",
        "| --- | --- | --- | --- | --- |",
        *(outcome.row() for outcome in outcomes),
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        sys.exit(main())
