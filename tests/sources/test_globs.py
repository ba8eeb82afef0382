"""Globs as names, held against the real ones."""

from __future__ import annotations

import glob
import os
from pathlib import Path

import pytest

from ml_exporter.sources.files import matches, would_match
from ml_exporter.sources.globs import fits, resolved

FILES = (
    "p.jsonl",
    "p.jsonl.1",
    "p.jsonl.1700000000000000000",
    "p.jsonl.1.gz",
    "p.jsonl-2026-11-01.gz",
    "p.jsonl.zst",
    "p.jsonl.bak",
    "q.jsonl",
    ".hidden.jsonl",
    "in/p.jsonl",
    "in/deep/p.jsonl",
    "in/.hidden/p.jsonl",
    "[in]/p.jsonl",
)
PATTERNS = (
    "p.jsonl",
    "*.jsonl",
    "*",
    "[pq].jsonl",
    "?.jsonl*",
    ".*",
    "**",
    "**/p.jsonl",
    "**/*",
    "*/p.jsonl",
    "*/*/p.jsonl",
    "in/**/*.jsonl",
    "in/**",
    "in/.*/p.jsonl",
    "[[]in]/*",
    "p.jsonl.1*",
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in FILES:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    return tmp_path


@pytest.mark.parametrize("pattern", PATTERNS)
def test_a_name_fits_where_its_file_would_be_found(folder: Path, pattern: str) -> None:
    whole = f"{folder}/{pattern}"
    paths = {f"{folder}/{name}" for name in FILES}
    assert {path for path in paths if fits(whole, path)} == paths & set(glob.glob(whole, recursive=True))
    assert {path for path in paths if would_match(whole, path)} == paths & set(matches(whole))


def test_folders_with_one_name_are_resolved(folder: Path) -> None:
    (folder / "link").symlink_to("[in]")
    (folder / "p.link").symlink_to("p.jsonl")
    assert resolved(f"{folder}/in/../p.jsonl") == f"{folder}/p.jsonl"
    assert resolved(f"{folder}/p.link") == f"{folder}/p.jsonl"
    assert resolved(f"{folder}/link/*.jsonl") == f"{folder}/[[]in]/*.jsonl"
    assert resolved(f"{folder}/[[]in]/./p.jsonl") == f"{folder}/[[]in]/p.jsonl"
    assert resolved(f"{folder}/absent/../*/x") == f"{folder}/*/x"
    assert resolved("/*") == "/*"
    assert os.path.exists(glob.glob(resolved(f"{folder}/link/*.jsonl"))[0])
