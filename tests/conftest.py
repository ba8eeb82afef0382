"""What holds for every test: the import path, seeds, and no skipped test in CI."""

import atexit
import os
import sys
from pathlib import Path

import pytest
from hypothesis import settings

REPOSITORY = Path(__file__).resolve().parent.parent
# So that `from tests.tools import ...` works however pytest was started, and the demo's scripts import
# each other as they do when they are run.
sys.path[:0] = [str(REPOSITORY), str(REPOSITORY / "exporter" / "demo")]

settings.register_profile("seeded", derandomize=True, deadline=None, database=None)
settings.load_profile("seeded")

SKIPPED = pytest.StashKey[int]()
LONG_SECONDS = 1800
"""How long a test marked `long` may take, unless it says otherwise: a busy machine takes several times as long."""


def end_quietly() -> None:
    """Drop what is written to stderr while the interpreter is torn down, after the last of our code.

    DuckDB's binding lists its own types as leaked there, in some orders of imports, and would push pytest's
    summary off the end. The exit code tells of a crash all the same.
    """
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)


# What is registered first runs last.
atexit.register(end_quietly)


def count_skips(reporter: pytest.TerminalReporter) -> int:
    """Return how many tests, or whole files of tests, were skipped."""
    return len(reporter.stats.get("skipped", []))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give long tests more time."""
    for item in items:
        if item.get_closest_marker("long") and not item.get_closest_marker("timeout"):
            item.add_marker(pytest.mark.timeout(LONG_SECONDS))


def pytest_sessionfinish(session: pytest.Session) -> None:
    """A skipped test proves nothing: in CI it fails the run."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if not isinstance(reporter, pytest.TerminalReporter):
        return
    session.config.stash[SKIPPED] = count_skips(reporter)
    if os.environ.get("CI") and session.config.stash[SKIPPED]:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Say loudly how many tests did not run."""
    skipped = config.stash.get(SKIPPED, 0)
    if skipped:
        fails = "; with CI set that fails the run" if os.environ.get("CI") else ""
        terminalreporter.section(f"{skipped} SKIPPED, NOT TESTED{fails}", red=True, bold=True)
