"""Makes this folder's logs: six hours of a model with a shadow, and some of everything that goes wrong.

    python tests/golden/make_logs.py reference.jsonl
    ml_exporter profile --config.file tests/golden/config.yml --model payment-fraud reference.jsonl

The first line also writes the reference period, which only the profile is made from.
"""

from __future__ import annotations

import json
import math
import random
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
START = datetime(2025, 3, 3, 6, 0, tzinfo=UTC)
Record = dict[str, Any]


def row(draw: random.Random, number: int, moment: datetime, shift: float) -> tuple[Record, bool]:
    """One prediction of version 1 and the truth about it."""
    amount, country = draw.lognormvariate(3 + shift, 1), draw.choice(["de", "de", "fr", "it", "es"])
    odds = -2.5 + 0.5 * (math.log(amount) - 3) + (1.0 if country == "es" else 0.0)
    score = 1 / (1 + math.exp(-odds - draw.gauss(0, 0.5)))
    features = {"amount": round(amount, 2), "country": country, "age_days": draw.randint(0, 900)}
    record = {
        "id": f"payment-{number}",
        "ts": moment.isoformat(timespec="milliseconds"),
        "version": "1",
        "score": round(score, 4),
        "prediction": score >= 0.2,
        "latency_s": round(draw.lognormvariate(-4, 1), 4),
        "features": features,
    }
    return record, draw.random() < 1 / (1 + math.exp(-odds))


def faulty(draw: random.Random, record: Record) -> Record:
    """The record with, now and then, something wrong in it."""
    features = record["features"]
    kind = draw.choices(
        ["fine", "missing", "type", "unseen", "range", "error", "no id"], [80, 3, 3, 3, 3, 3, 1]
    )[0]
    if kind == "error":
        return {key: record[key] for key in ("id", "ts", "version", "features")} | {"error": "timeout"}
    if kind == "no id":
        return {key: value for key, value in record.items() if key != "id"}
    changes = {"missing": {"amount": None}, "type": {"amount": "12 EUR"}, "unseen": {"country": "xx"}}
    changes["range"] = {"age_days": 5_000}
    return {**record, "features": {**features, **changes.get(kind, {})}}


def predictions(draw: random.Random) -> Iterator[tuple[Record, bool, datetime]]:
    """Predictions of version 1 in order, and soon after those of version 2 in its shadow."""
    moment = START
    for number in range(340):
        moment += timedelta(seconds=draw.expovariate(1 / 64))
        record, truth = row(draw, number, moment, shift=0.4 if number > 200 else 0.0)
        yield faulty(draw, record), truth, moment
        if number >= 20:
            score = min(0.999, record["score"] * draw.uniform(0.8, 1.3))
            yield (
                {**record, "version": "2", "score": round(score, 4), "prediction": score >= 0.2},
                truth,
                moment,
            )


def labels(draw: random.Random, served: list[tuple[Record, bool, datetime]]) -> list[Record]:
    """Labels of most ids, some of them early, late, twice or of nobody."""
    found: list[tuple[datetime, Record]] = []
    for record, truth, moment in served:
        if "id" not in record or record["version"] == "2" or draw.random() < 0.04:
            continue
        delay = draw.choices([draw.uniform(30, 1500), -60, 3000], [94, 3, 3])[0]
        for again in range(2 if draw.random() < 0.03 else 1):
            when = moment + timedelta(seconds=delay + again)
            stamp = when.isoformat(timespec="milliseconds")
            found.append((when, {"id": record["id"], "ts": stamp, "fraud": truth}))
    stray = START + timedelta(hours=1)
    found += [(stray, {"id": f"nobody-{i}", "ts": stray.isoformat(), "fraud": False}) for i in range(3)]
    return [record for _, record in sorted(found, key=lambda item: item[0])]


def write(path: Path, records: list[Record], broken: dict[int, str]) -> None:
    lines = [json.dumps(record, separators=(",", ":")) for record in records]
    for place, text in broken.items():
        lines.insert(place, text)
    path.write_text("".join(line + "\n" for line in lines), encoding="utf-8")


def main() -> None:
    draw = random.Random(20250303)
    if len(sys.argv) > 1:
        moments = [START - timedelta(hours=60) + timedelta(seconds=72 * number) for number in range(3000)]
        rows = [row(draw, -number, moment, 0.0) for number, moment in enumerate(moments, 1)]
        write(Path(sys.argv[1]), [{**record, "fraud": truth} for record, truth in rows], {})
    served = list(predictions(random.Random(1)))
    records = [record for record, _, _ in served]
    write(HERE / "predictions.jsonl.1", records[:200], {50: "{broken", 120: "[1, 2]"})
    write(HERE / "predictions.jsonl", records[200:], {30: '{"id": "payment-x", "ts": "yesterday"}'})
    write(
        HERE / "labels.jsonl",
        labels(random.Random(2), served),
        {10: '{"id": "payment-1", "ts": "2025-03-03"}'},
    )


if __name__ == "__main__":
    main()
