"""The same records in every format and form give the same page."""

from __future__ import annotations

import csv
import gzip
import json
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from tests.golden.test_page import HERE, Output, rounded

from ml_exporter.cli import main
from ml_exporter.sources.opened import zstd

Records = list[dict[str, Any]]
FEATURES = ("amount", "country", "age_days")


def records(name: str) -> Records:
    found = []
    for path in sorted(HERE.glob(f"{name}.jsonl*"), reverse=True):
        for line in path.read_bytes().splitlines():
            try:
                record = json.loads(line)
            except ValueError:
                continue
            if isinstance(record, dict):
                found.append(record)
    return found


def flat(record: dict[str, Any]) -> dict[str, Any]:
    features = record.get("features", {})
    return {key: value for key, value in record.items() if key != "features"} | features


def columns(rows: Records) -> dict[str, list[Any]]:
    names = dict.fromkeys(name for row in rows for name in row)
    found = {name: [row.get(name) for row in rows] for name in names}
    for name, values in found.items():
        if len({type(value) for value in values if value is not None} - {int, float}) > 1 or (
            any(isinstance(value, str) for value in values)
            and not all(isinstance(value, str) for value in values)
        ):
            found[name] = [None if value is None else text(value) for value in values]
    return found


def text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def as_jsonl(rows: Records, path: Path) -> None:
    path.write_bytes(b"".join(json.dumps(row).encode() + b"\n" for row in rows))


def as_csv(rows: Records, path: Path) -> None:
    table = columns(rows)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(table)
        for row in zip(*table.values(), strict=True):
            writer.writerow("" if value is None else text(value) for value in row)


def as_parquet(rows: Records, path: Path) -> None:
    pq.write_table(pa.table(columns(rows)), path, row_group_size=100)


def packed(
    write: Callable[[Records, Path], None], pack: Callable[[bytes], bytes]
) -> Callable[[Records, Path], None]:
    def written(rows: Records, path: Path) -> None:
        write(rows, path)
        path.write_bytes(pack(path.read_bytes()))

    return written


def page(folder: Path, form: str, suffix: str, nested: bool, write: Callable[[Records, Path], None]) -> str:
    """The page of the kept logs, written anew into a folder."""
    config = yaml.safe_load((HERE / "config.yml").read_text(encoding="utf-8"))
    (model,) = config["models"]
    model["profile"] = str(HERE / "profile.json")
    for source in ("predictions", "labels"):
        model[source] |= {"path": f"{source}{suffix}", "format": form}
        write([row if nested else flat(row) for row in records(source)], folder / f"{source}{suffix}")
    if not nested:
        model["predictions"]["fields"]["features"] = list(FEATURES)
    path = folder / "config.yml"
    path.write_text(yaml.safe_dump(config), encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        out = Output()
        patch.setattr("sys.stdout", out)
        assert main(["evaluate", "--config.file", str(path)]) == 0
    return of_models(rounded(out.data.decode()).splitlines())


def of_models(lines: Iterable[str]) -> str:
    """Lines about models; names that no profile knows can be told only in an object of features."""
    about = (line for line in lines if re.match(r"(# \w+ )?ml_(?!exporter|host|process)", line))
    return "\n".join(line for line in about if not re.match("ml_schema_columns.*unexpected", line))


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> str:
    return page(tmp_path_factory.mktemp("plain"), "jsonl", ".jsonl", True, as_jsonl)


@pytest.mark.parametrize(
    ("form", "suffix", "nested", "write"),
    [
        ("jsonl", ".jsonl", False, as_jsonl),
        ("jsonl", ".jsonl.gz", True, packed(as_jsonl, gzip.compress)),
        ("jsonl", ".jsonl.zst", False, packed(as_jsonl, zstd.compress)),
        ("csv", ".csv", False, as_csv),
        ("csv", ".csv.gz", False, packed(as_csv, gzip.compress)),
        ("csv", ".csv.zst", False, packed(as_csv, zstd.compress)),
        ("parquet", ".parquet", False, as_parquet),
    ],
    ids=["flat jsonl", "jsonl.gz", "flat jsonl.zst", "csv", "csv.gz", "csv.zst", "parquet"],
)
def test_the_page_does_not_depend_on_the_format(
    tmp_path: Path,
    expected: str,
    form: str,
    suffix: str,
    nested: bool,
    write: Callable[[Records, Path], None],
) -> None:
    assert page(tmp_path, form, suffix, nested, write) == expected
    assert "ml_quality{" in expected
    assert "ml_drift{" in expected
