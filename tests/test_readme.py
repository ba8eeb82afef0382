"""The README is in step with the code, and what it shows for copying works."""

from __future__ import annotations

import re
import sys
import textwrap
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import get_args

import pytest
import yaml
from tests.stats.test_regression_tails import PUBLISHED

from ml_exporter.config import load
from ml_exporter.engine import Engine, load_layouts
from ml_exporter.metrics.catalogue import QUALITY
from ml_exporter.stats.classification import BINARY_METRICS, BINARY_RATES
from ml_exporter.stats.multiclass import MULTICLASS_METRICS
from ml_exporter.stats.regression import REGRESSION_METRICS
from ml_exporter.stats.result import Reason
from ml_exporter.store import Store

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / ".ci"))

import readme_tables  # noqa: E402  # lives in a folder that is no package

README = (ROOT / "README.md").read_text(encoding="utf-8")
THREE_DAYS_LATER = datetime(2026, 5, 7, 12, tzinfo=UTC).timestamp()
FENCED = re.compile(r"^( *)```(\w+)\n(.*?)^\1```$", re.DOTALL | re.MULTILINE)


def examples() -> Iterator[tuple[str, list[str], str]]:
    """Every configuration, by its model's name, with the log lines that are shown before it."""
    lines: list[str] = []
    for _, language, text in FENCED.findall(README):
        block = textwrap.dedent(text)
        if language == "json":
            lines = block.splitlines()
        elif language == "yaml" and "models:" in block:
            yield yaml.safe_load(block)["models"][0]["name"], lines, block


EXAMPLES = {name: (lines, text) for name, lines, text in examples()}


def test_tables_are_those_of_the_code() -> None:
    assert readme_tables.filled(README) == README, "run `.venv/bin/python .ci/readme_tables.py`"


def test_the_published_schema_of_profiles_is_that_of_the_code() -> None:
    published = readme_tables.PROFILE_SCHEMA.read_text(encoding="utf-8")
    assert published == readme_tables.profile_schema(), "run `.venv/bin/python .ci/readme_tables.py`"


def test_speed_is_told_once_it_is_measured() -> None:
    figures = (
        "Machine: a, cores 2.\n\n| medians | s | of yardstick |\n| --- | ---: | ---: |\n| nested | 1 | 0.7 |"
    )
    other = "| evaluate | rows |\n| --- | ---: |"
    document = "before <!-- figures: begin -->\n\n{}\n\n<!-- figures: end --> after | of yardstick |"
    told = "\n".join(readme_tables.speed(document.format(f"{figures}\n\n{other}")))
    assert told == f"{readme_tables.SPEED}\n\n{figures}"
    assert list(readme_tables.speed(document.format("Not measured yet."))) == []


def test_there_is_an_example_of_each_task() -> None:
    tasks = {yaml.safe_load(text)["models"][0].get("task", "binary") for _, text in EXAMPLES.values()}
    assert tasks == {"binary", "multiclass", "regression"}


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_reads_the_lines_that_are_shown_with_it(name: str, tmp_path: Path) -> None:
    (predicted, labelled), text = EXAMPLES[name]
    path = tmp_path / "example.yml"
    path.write_text(text, encoding="utf-8")
    load(path)
    # Without a profile: it is made in a step of its own, from more rows than are shown.
    path.write_text(re.sub(r"^ *profile:.*\n", "", text, flags=re.MULTILINE), encoding="utf-8")
    config = load(path)
    model = config.models[0]
    assert model.labels is not None
    for log, line in ((model.predictions.path, predicted), (model.labels.path, labelled)):
        Path(log).parent.mkdir(exist_ok=True)
        Path(log).write_text(line + "\n", encoding="utf-8")
    store = Store(None)
    engine = Engine(config, load_layouts(config), store, lambda: THREE_DAYS_LATER)
    report, state = engine.run_once(round(THREE_DAYS_LATER * 1e6)).reports[0]
    store.close()
    assert [(version.name, version.judged.count("labelled")) for version in report.versions] == [("3", 1)]
    assert {outcome for rows in state.outcomes.values() for outcome in rows} == {"accepted"}


def section(title: str) -> str:
    """Return what stands below a heading, down to the next one that is not below it."""
    level = title.partition(" ")[0]
    found = re.search(
        rf"^{re.escape(title)}\n(.*?)(?=^#{{2,{len(level)}}} |\Z)", README, re.DOTALL | re.MULTILINE
    )
    assert found, f"no section {title}"
    return found[1]


def first_cells(title: str) -> set[str]:
    """Return the names in the first column of a section's tables."""
    rows = re.findall(r"^\| (`.*?) \| ", section(title), re.MULTILINE)
    return {name for row in rows for name in re.findall(r"`(\w+)", row)}


def test_every_number_about_quality_is_explained() -> None:
    assert {entry.name for entry in QUALITY} <= first_cells("## What each number means")


@pytest.mark.parametrize(
    ("title", "names"),
    [
        ("### `ml_quality` of binary models", {*BINARY_METRICS, *BINARY_RATES, "quality_value"}),
        ("### `ml_quality` of multiclass models", {*MULTICLASS_METRICS}),
        ("### `ml_quality` of regressions", {*REGRESSION_METRICS}),
        ("### Why a number is absent", {*get_args(Reason)}),
    ],
)
def test_every_metric_and_every_reason_is_explained(title: str, names: set[str]) -> None:
    assert first_cells(title) == names


def test_tests_that_are_named_exist() -> None:
    named = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", README)
    assert len(named) > 20
    missing = [
        f"{path}::{name}"
        for path, name in named
        if not re.search(rf"^ *def {name}\(", (ROOT / path).read_text(encoding="utf-8"), re.MULTILINE)
    ]
    assert missing == []


def test_the_table_of_heavy_tails_is_the_one_that_is_tested() -> None:
    for (tails, rows), shares in PUBLISHED.items():
        cells = " | ".join(f"{100 * share:.1f} %" for share in shares)
        assert f"| {tails} | {rows:,} | {cells} |\n" in README


def test_files_and_headings_that_are_linked_exist() -> None:
    links = re.findall(r"\]\(([^)\s]+)\)", README)
    headings = re.findall(r"^#+ (.*)$", README, re.MULTILINE)
    anchors = {"#" + re.sub(r"[^\w -]", "", title).lower().replace(" ", "-") for title in headings}
    own = [link for link in links if not link.startswith("http")]
    assert [link for link in own if link.startswith("#") and link not in anchors] == []
    assert [link for link in own if not link.startswith("#") and not (ROOT / link).exists()] == []
