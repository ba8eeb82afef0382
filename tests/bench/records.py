"""A million predictions for the benchmark, in every form that the exporter reads.

Twenty features (14 numbers, 6 categories), a score, a prediction, a label in 70 % of the records,
about 590 bytes a line. DuckDB writes them, seeded, so that each run has the same bytes.
"""

from __future__ import annotations

import json
from pathlib import Path

import duckdb
import yaml

START = 1_767_225_600  # 2026-01-01
ROWS_PER_SECOND = 20
NUMBERS = tuple(f"number_{index:02d}" for index in range(14))
CATEGORIES = tuple(f"category_{index}" for index in range(6))
FEATURES = (*NUMBERS, *CATEGORIES)
BAD_LINES = 1_000
"""One line in so many is broken in the file with bad lines."""
_BASE = "id, ts, version, score, prediction, latency_s"
_FEATURES = "{" + ", ".join(f"{name}: {name}" for name in FEATURES) + "} AS features"


def write(folder: Path, rows: int) -> None:
    """Write all files that are not there yet: nested, flat, CSV, Parquet, bad lines, labels apart, config."""
    folder.mkdir(parents=True, exist_ok=True)
    made = folder / f"made-{rows}"
    if made.exists():
        return
    connection = duckdb.connect(config={"threads": 1})
    connection.execute("SELECT setseed(0.42)")
    connection.execute(f"CREATE TABLE t AS {_rows(rows)}")
    nested = _nested("t")
    copies = {
        "nested.jsonl": f"({nested})" + " TO '{}' (FORMAT json)",
        "unlabelled.jsonl": f"(SELECT {_BASE}, {_FEATURES} FROM t)" + " TO '{}' (FORMAT json)",
        "labels.jsonl": "(SELECT id, strftime(ts::TIMESTAMP + INTERVAL 10 MINUTE, '%Y-%m-%dT%H:%M:%S.%gZ') AS ts, label FROM t WHERE label IS NOT NULL) TO '{}' (FORMAT json)",
        "flat.jsonl": "t TO '{}' (FORMAT json)",
        "flat.csv": "t TO '{}' (FORMAT csv, HEADER)",
        "flat.parquet": "t TO '{}' (FORMAT parquet)",
        "profile.jsonl": f"({nested} LIMIT 50000)" + " TO '{}' (FORMAT json)",
    }
    for name, copy in copies.items():
        connection.execute("COPY " + copy.replace("{}", str(folder / name)))
    _write_bad(folder)
    made.touch()


def write_long(folder: Path, rows: int) -> None:
    """Write `nested.jsonl` alone, however long, without holding it in memory."""
    folder.mkdir(parents=True, exist_ok=True)
    if (folder / "nested.jsonl").exists():
        return
    connection = duckdb.connect(config={"threads": 1})
    connection.execute("SELECT setseed(0.42)")
    unfinished = folder / "unfinished.jsonl"
    connection.execute(f"COPY ({_nested(f'({_rows(rows)})')}) TO '{unfinished}' (FORMAT json)")
    unfinished.rename(folder / "nested.jsonl")


def config(
    folder: Path,
    log: str,
    form: str = "jsonl",
    labels: bool = False,
    profile: str = "profile.json",
    together: bool = False,
) -> Path:
    """Write a configuration of everything on for one of the files, and return its path.

    With another profile than its own, `bare_profile`, there are no segments and no detectors either. Columns
    are watched together only on demand, as by an exporter.
    """
    flat = log.startswith("flat")
    fields: dict[str, object] = {
        "timestamp": "ts",
        "version": "version",
        "score": "score",
        "prediction": "prediction",
    }
    fields |= {"id": "id", "latency_seconds": "latency_s", "features": list(FEATURES) if flat else "features"}
    model = {
        "name": "bench",
        "profile": profile,
        "predictions": {"path": log, "format": form, "fields": fields},
        "quality": {"roc_auc": {"min": 0.6}, "accuracy": {"min": 0.6}},
        "drift": {"psi": {"max": 0.2}},
        "health": {"missing": {"max": 0.5}},
        "latency": {"limit": 0.25},
    }
    if labels:
        model["labels"] = {
            "path": "labels.jsonl",
            "fields": {"id": "id", "timestamp": "ts", "label": "label"},
            "maturity": "1h",
        }
    else:
        fields["label"] = "label"
    bare = profile != "profile.json"
    model |= {"detectors": []} if bare else {"segments": [CATEGORIES[0]]}
    model |= {"multivariate": {"pca": {"max": 0.5}}} if together else {}
    marks = {"-labels": labels, "-bare": bare, "-together": together}
    path = folder / f"{log.replace('.', '-')}{''.join(mark for mark, on in marks.items() if on)}.yml"
    path.write_text(yaml.safe_dump({"models": [model]}))
    return path


def bare_profile(folder: Path) -> str:
    """Write the profile without what estimates, rhythms and detectors need; return its name."""
    profile = json.loads((folder / "profile.json").read_text(encoding="utf-8"))
    for key in ("hourly", "expected_loss", "estimation"):
        profile.pop(key, None)
    (folder / "profile-bare.json").write_text(json.dumps(profile), encoding="utf-8")
    return "profile-bare.json"


def _nested(table: str) -> str:
    return f"SELECT {_BASE}, label, {_FEATURES} FROM {table}"


def _rows(rows: int) -> str:
    numbers = ", ".join(
        f"CASE WHEN random() < 0.02 THEN NULL ELSE round(({'-ln(random())' if index % 3 else '(random() + random() + random() - 1.5)'}) * {10 ** (index % 4)}, 6) END AS {name}"
        for index, name in enumerate(NUMBERS)
    )
    categories = ", ".join(
        f"['alpha', 'beta', 'gamma', 'delta', 'epsilon', 'zeta', 'eta', 'theta'][1 + (8 * random() * random())::INT % 8] AS {name}"
        for name in CATEGORIES
    )
    return (
        f"SELECT *, score >= 0.5 AS prediction, CASE WHEN random() < 0.7 THEN random() < score END AS label FROM (SELECT "
        f"'request-' || lpad(i::VARCHAR, 12, '0') AS id, "
        f"strftime(to_timestamp({START} + i / {ROWS_PER_SECOND}.0)::TIMESTAMP, '%Y-%m-%dT%H:%M:%S.%gZ') AS ts, "
        f"CASE WHEN i % 10 = 0 THEN '2' ELSE '1' END AS version, "
        f"round(random() * random(), 8) AS score, "
        f"round(-ln(random()) * 0.05, 5) AS latency_s, {numbers}, {categories} FROM range({rows}) r(i))"
    )


def _write_bad(folder: Path) -> None:
    broken = (b'{"id": "cut', b"not json at all", b'{"ts": 5}', b"[1, 2, 3]")
    with (folder / "nested.jsonl").open("rb") as source, (folder / "bad.jsonl").open("wb") as target:
        for number, line in enumerate(source):
            target.write(broken[number // BAD_LINES % 4] + b"\n" if number % BAD_LINES == 17 else line)
