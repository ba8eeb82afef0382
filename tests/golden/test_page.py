"""The page that `evaluate` prints for this folder's logs, compared with the one that is kept.

    REWRITE_PAGE=1 .venv/bin/python -m pytest tests/golden

writes the page anew; look at the difference before you commit it.
"""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families
from tests.tools import find_tool

from ml_exporter.cli import main

HERE = Path(__file__).parent
PAGE = HERE / "page.txt"


@pytest.fixture(scope="module")
def page() -> str:
    """The page as `ml_exporter evaluate` prints it."""
    return printed()


def printed() -> str:
    with pytest.MonkeyPatch.context() as patch:
        out = Output()
        patch.setattr("sys.stdout", out)
        assert main(["evaluate", "--config.file", str(HERE / "config.yml")]) == 0
    return out.data.decode()


class Output:
    """Takes the place of sys.stdout, and keeps the bytes."""

    def __init__(self) -> None:
        self.data = b""
        self.buffer = self

    def write(self, data: bytes) -> int:
        self.data += data
        return len(data)


def rounded(page: str) -> str:
    """Values to ten digits: processors add up in different orders."""
    return re.sub(
        r"^([^#].*) (\S+)$", lambda line: f"{line[1]} {float(line[2]):.10g}", page, flags=re.MULTILINE
    )


def test_page_is_the_one_that_is_kept(page: str) -> None:
    if os.environ.get("REWRITE_PAGE"):
        PAGE.write_text(rounded(page), encoding="utf-8")
    assert rounded(page) == PAGE.read_text(encoding="utf-8")


def test_page_is_the_same_twice(page: str) -> None:
    assert printed() == page


def test_promtool_has_nothing_to_say(page: str) -> None:
    run = subprocess.run(
        [str(find_tool("promtool")), "check", "metrics"],
        input=page,
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )
    assert (run.returncode, run.stdout, run.stderr) == (0, "", "")


def test_every_label_and_line_that_was_read_has_its_outcome(page: str) -> None:
    counts: dict[str, float] = {}
    for family in text_string_to_metric_families(page):
        for sample in family.samples:
            if sample.name in ("ml_input_rows_total", "ml_labels_total"):
                key = f"{sample.labels.get('source', 'outcomes')} {sample.labels['outcome']}"
                counts[key] = sample.value
    lines = sum(
        len((HERE / name).read_bytes().splitlines()) for name in ("predictions.jsonl.1", "predictions.jsonl")
    )
    assert sum(count for key, count in counts.items() if key.startswith("predictions ")) == lines
    outcomes = sum(count for key, count in counts.items() if key.startswith("outcomes "))
    # The rest are the labels of the predictions that are not mature at the end.
    assert 0 < counts["labels accepted"] - outcomes < 50
