"""The config's JSON Schema and the shell completion: in step with the code, and of use."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import jsonschema
import pytest
import yaml

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / ".ci"))

import deploy_files  # noqa: E402  # lives in a folder that is no package
import readme_tables  # noqa: E402

SCHEMA = json.loads((ROOT / "exporter/deploy/config.schema.json").read_text(encoding="utf-8"))
VALIDATOR = jsonschema.Draft202012Validator(SCHEMA)
GOOD = [
    ROOT / "tests/config/good/complete.yml",
    ROOT / "tests/golden/config.yml",
    *sorted((ROOT / "exporter/demo").glob("flights*.yml")),
]
BAD = ("unknown_keys", "wrong_types", "sizes", "missing", "no_models")


def test_the_files_are_those_of_the_code() -> None:
    for path, text in deploy_files.files(readme_tables.MEANINGS).items():
        assert path.read_text(encoding="utf-8") == text, "run `.venv/bin/python .ci/readme_tables.py`"


def test_the_schema_is_one() -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)


def content(path: Path) -> object:
    """What an editor sees: dates and numbers as YAML's basic types."""
    return yaml.safe_load(path.read_text(encoding="utf-8"))


@pytest.mark.parametrize("path", GOOD, ids=lambda path: path.stem)
def test_good_configurations_are_valid(path: Path) -> None:
    assert [error.message for error in VALIDATOR.iter_errors(content(path))] == []


@pytest.mark.parametrize("name", BAD)
def test_bad_configurations_are_not(name: str) -> None:
    assert not VALIDATOR.is_valid(content(ROOT / f"tests/config/bad/{name}.yml"))


@pytest.mark.parametrize(
    ("key", "value", "fine"),
    [
        ("maturity", "1h30m", True),
        ("maturity", 0, True),
        ("maturity", "1 day", False),
        ("maturity", 1.5, False),
        ("min_coverage", 1.5, False),
        ("silence", "positive", False),
        ("push", "yes", False),
    ],
)
def test_values_are_checked(key: str, value: object, fine: bool) -> None:
    labels = {"path": "l.jsonl", key: value}
    model = {"name": "m", "predictions": {"path": "p.jsonl"}, "labels": labels}
    assert VALIDATOR.is_valid({"models": [model]}) is fine


def test_editors_are_told_what_a_key_means() -> None:
    text = (ROOT / "exporter/deploy/config.schema.json").read_text(encoding="utf-8")
    missing = [
        key
        for key, meaning in readme_tables.MEANINGS.items()
        if json.dumps(meaning, ensure_ascii=False) not in text
    ]
    assert missing == []


def complete(*words: str) -> set[str]:
    """What bash offers for the last word."""
    script = ROOT / "exporter/deploy/completion/ml_exporter.bash"
    line = " ".join(f"'{word}'" for word in words)
    program = (
        f"source {script}; COMP_WORDS=({line}); COMP_CWORD={len(words) - 1}; "
        "$(complete -p ml_exporter | grep -o -- '-F [^ ]*' | cut -d' ' -f2); printf '%s\\n' \"${COMPREPLY[@]}\""
    )
    run = subprocess.run(
        ["bash", "--norc", "-c", program],
        capture_output=True,
        text=True,
        check=True,
        env={"PATH": os.environ["PATH"]},
        cwd=ROOT / "exporter/deploy",
    )
    return {word for word in re.split(r"\s+", run.stdout) if word}


def test_bash_completes_commands_flags_and_choices() -> None:
    assert {"serve", "evaluate", "check", "profile"} <= complete("ml_exporter", "")
    assert {"--web.listen-address", "--web.config.file"} <= complete("ml_exporter", "serve", "--web")
    assert complete("ml_exporter", "serve", "--log.format", "") == {"logfmt", "json"}
    assert "--at" in complete("ml_exporter", "evaluate", "--")


def test_bash_completes_files() -> None:
    assert complete("ml_exporter", "serve", "--config.file", "web") == {"web-config.yml"}
