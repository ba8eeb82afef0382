"""The README is in step with the code."""

import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / ".ci"))

import readme_tables  # noqa: E402  # lives in a folder that is no package


def test_tables_are_those_of_the_code() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert readme_tables.filled(readme) == readme, "run `.venv/bin/python .ci/readme_tables.py`"
