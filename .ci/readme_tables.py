"""The README's tables of commands, config keys, metrics and alerts, made from the code, and its figures.

`python .ci/readme_tables.py` writes them into README.md; a test fails when they are out of step. The section
on speed shows what stands in tests/bench/README.md, and is left out while nothing is measured there. The JSON
Schema of profiles is written beside it.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import deploy_files
from pydantic import BaseModel
from pydantic_core import PydanticUndefined

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "prometheus"))

import alert_table  # noqa: E402  # lives beside the rules, which is put on the path above

from ml_exporter.cli import parser  # noqa: E402
from ml_exporter.config_model import Root  # noqa: E402
from ml_exporter.metrics.catalogue import CATALOGUE  # noqa: E402
from ml_exporter.profile import json_schema  # noqa: E402

MEANINGS = {
    "exporter.state": "file that keeps offsets, waiting rows and counts; left out: memory only, and logs are read from their end",
    "exporter.evaluation_interval": "time between evaluations; each is one commit",
    "exporter.birth_hold": "how long counters of a new version show 0 first, so that `increase()` sees the first burst; more than a scrape interval",
    "exporter.pending_limit": "predictions that may wait for labels",
    "exporter.line_limit": "longer lines are counted as `too_long` and skipped",
    "exporter.access": "users of the web config by what they may do, such as `{scrape: [prometheus], push: [], admin: [ops]}`: `push` is for `/v1/`, `admin` for `/-/reload` and `/config`, `scrape` for the rest; an empty list lets every user in",
    "exporter.push.spool_limit": "pushed records that are kept for each log until they are counted; more is answered with 429",
    "exporter.push.body_limit": "bytes that one push may bring, decompressed; at most half of `spool_limit`",
    "exporter.series_limit": "series of a page; over it whole columns are left out, first those of the least `importance`, then those that tell least of the loss",
    "host.enabled": "whether CPU, memory, disks and network of the host are exported",
    "host.processes": "groups of processes to watch: a name, and a regular expression (RE2) that is searched for in the first 4 KiB of the command line",
    "models[].name": "the `model` label",
    "models[].task": "what the model predicts: `binary` (P(positive), a decision), `multiclass` (a class, with the probability of each) or `regression` (a number)",
    "models[].team": "alerts carry it, Alertmanager routes on it",
    "models[].profile": "the reference profile, or one by version",
    "models[].shadow": "versions whose predictions were not served; their ids repeat the champion's",
    "models[].champion": "the version that alerts are about; left out: the one with most traffic",
    "models[].predictions.path": "glob of the log; rotated forms `P.1`, `P-2026-01-31` are found by themselves",
    "models[].predictions.format": "form of the log: `jsonl`, `csv` (with a header) or `parquet`",
    "models[].predictions.fields": "dotted paths into a record: id, timestamp, version, score, prediction, label, latency_seconds, error, features",
    "models[].predictions.preset": "the fields of a known program's log: `ml_exporter`, `bentoml`, `kserve`, `seldon`, `sagemaker` or `mlflow`; `fields` overrules it",
    "models[].predictions.where": "which records of the log are this model's predictions: texts by path, as `{model: churn}` or `{kind: [a, b]}`; others are `skipped`",
    "models[].predictions.push": "whether records are pushed to `/v1/predictions/NAME`; `path` is then one file, which the exporter writes",
    "models[].labels.path": "glob of the label log",
    "models[].labels.format": "form of the log: `jsonl`, `csv` (with a header) or `parquet`",
    "models[].labels.fields": "dotted paths: id, timestamp, label",
    "models[].labels.where": "which records of the log are this model's labels",
    "models[].labels.push": "whether labels are pushed to `/v1/labels/NAME`; `path` is then one file, which the exporter writes",
    "models[].labels.preset": "the fields of a known program's label log: `ml_exporter` or `sagemaker`",
    "models[].labels.maturity": "a prediction is judged this long after its time stamp",
    "models[].labels.wait": "how long ids are remembered: a label after maturity is `late` until then",
    "models[].labels.min_coverage": "labelled share of mature predictions below which there is no quality",
    "models[].labels.silence": "`negative`: a mature prediction without a label is a negative",
    "models[].labels.shared": "on shards: a label without prediction is `foreign`, not `orphan`",
    "models[].positive": "the label that counts as positive",
    "models[].segments": "features to compute quality by, for the metrics that have a target; at most 8",
    "models[].windows": "sliding windows, each of whole minutes",
    "models[].alert_window": "the window that targets and limits judge: 1d where it is among the windows, else the longest",
    "models[].quality": "targets by metric: min, max",
    "models[].calibration": "max: limit of the expected calibration error (binary)",
    "models[].slo": "objective: promised share of good predictions; tolerance: largest absolute error of a good one (regression); page: whether fast burning may wake somebody (true)",
    "models[].drift": "limits by method (`psi: {max: 0.2}`), and by column and method below `columns`",
    "models[].drift.methods": "distances to compute, beside those with a limit: `psi`, `wasserstein`, `ks`, `jensen_shannon`, `hellinger`, `mean_shift` (numbers), `psi`, `cramers_v`, `jensen_shannon`, `hellinger`, `l_infinity` (categories); embeddings have `centroid` besides; left out, and for a kind that none is for: `psi` and `wasserstein`, `psi` and `cramers_v`. Build the profile again after a change: it has their noise",
    "models[].drift.references": "what windows are compared with: `training` (the profile), `previous` (the window of the same length before, which doubles the panes that are kept)",
    "models[].drift.pvalues": "whether `ml_drift_pvalue` is exported",
    "models[].drift.limits": "`auto`: limits that are not given are those that the profile suggests for the alert window: the largest value over its own stretches of that length, and the sampling noise of one on top",
    "models[].health": "limits of the share of values that fail [a check](#input-health), and by column; `limits: auto` takes those that are left out from the profile",
    "models[].latency": "limit: seconds above which a prediction counts as slow; objective: promised share of others (0.99); page: whether fast burning may wake somebody (true)",
    "models[].errors": "objective: promised share of predictions without an error (0.99); page: whether fast burning may wake somebody (true)",
    "models[].version_limit": "versions with labels of their own; the rest is `other`",
    "models[].segment_limit": "values of a segment that are told apart (the profile's most frequent, else the first met); the rest is `other`",
    "models[].segment_roc_auc": "whether ROC AUC is computed by segment too, from 64 bins of the score (binary); costs memory",
    "models[].class_limit": "classes that are told apart (those of the score mapping or the profile, else the first met); the rest is `other`",
    "models[].export_bins": "columns whose bins are exported, besides score and prediction",
    "models[].cadence": "`batch`: logs come in bursts, so that only long burn rates are judged",
    "models[].compare_with": "another model whose champion this one's is compared with in `ml_version_difference`",
    "models[].max_age": "age of the champion above which it is to be retrained",
    "models[].prediction_age_limit": "age of the newest prediction above which the model counts as silent",
    "models[].label_delay_limit": "limit of the label delay",
    "models[].drifted_columns_limit": "share of drifted columns above which the model has drifted",
    "models[].multivariate": "limits of the drift of columns together, by method: `pca`, `correlation_max`, `correlation_mean`; with any of them all three are computed. Build the profile again after adding it",
    "models[].seasonal": "max: limit of the deviation from the same hour of the week, in standard errors",
    "models[].columns": "what is known of a column, by its name: kind (`numeric`, `categorical`, `integer_category`, `boolean`, `text`, `timestamp`, `embedding`, `ignore`), min, max, allowed, regex, not_null; importance (1): over `exporter.series_limit` columns of less are left out first",
    "models[].quality_value": "what a tp, fp, fn, tn gains or (below 0) costs: the metric `quality_value` is the mean of it",
    "models[].top_k": "k of `top_k_accuracy` (multiclass); 3 where it is left out",
    "models[].interval": "paths of a predicted interval's `lower` and `upper` end (regression)",
    "models[].detectors": "detectors of concept drift: `ecusum`, `page_hinkley`, `ddm`, `adwin`",
    "models[].tol": "share of errors beyond what the profile expects that `ecusum` tolerates",
    "models[].processes": "the groups of `host.processes` that serve the model",
    "models[].retrain": "how `ml_exporter hook` asks for retraining: `url`; `headers`: a file for the value of each; `secret_file`: signs requests; `cooldown` (1d) between requests; `max_per_week`; `max_age`: as the key below the model",
    "models[].dead_letter": "file for rejected records with their reasons: `path`, `max_bytes` (64MiB; once that is full it becomes `path`.1)",
}
PROFILE_SCHEMA = ROOT / "exporter/deploy/profile.schema.json"
SPEED_COLUMNS = ("| of yardstick |", "| steady state |", "| times ours |")
"""Headings of the benchmark's tables that the README shows."""
SPEED = """## Speed

What `make bench` and `make bench-peers` measured last. A row is a prediction of 20 features with its score and,
in 70 %, its label, about 590 bytes a nested line; ml_exporter reads it from the disk, judges it and has all
statistics on its page. The yardstick is DuckDB's bare `read_json` of the same file with the same columns,
which counts nothing, in the same run: ratios to it hold on other machines, seconds do not. Memory and time by
rows, models and columns, and what was tried: [tests/bench](tests/bench/README.md)."""
_WHOLE = {
    "predictions.fields",
    "labels.fields",
    "access",
    "processes",
    "profile",
    "slo",
    "calibration",
    "drift",
    "health",
    "latency",
    "errors",
}
_PARTS = {"drift": ("methods", "references", "pvalues", "limits")}
"""Keys of a section that have a row of their own though the section has one."""
_WHOLE |= {
    "columns",
    "quality",
    "quality_value",
    "interval",
    "retrain",
    "dead_letter",
    "multivariate",
    "seasonal",
}


def commands() -> Iterator[str]:
    """Rows of the table of commands."""
    yield from ("| command | flag | meaning |", "| --- | --- | --- |")
    (choices,) = (action for action in parser()._actions if isinstance(action, argparse._SubParsersAction))
    for name, command in choices.choices.items():
        yield f"| `{name}` | | {command.description} |"
        for action in command._actions:
            if action.dest != "help":
                flag = ", ".join(f"`{item}`" for item in action.option_strings) or f"`{action.metavar}`"
                default = f" ({action.default})" if isinstance(action.default, str | float) else ""
                yield f"| | {flag} | {action.help}{default} |"


def config_keys() -> Iterator[str]:
    """Rows of the table of config keys; a key without a meaning is an error."""
    yield from ("| key | default | meaning |", "| --- | --- | --- |")
    keys = dict(_keys(Root, ""))
    unknown = MEANINGS.keys() - keys.keys()
    if unknown:
        raise KeyError(f"no such config keys: {sorted(unknown)}")
    for key, default in keys.items():
        yield f"| `{key}` | {default} | {MEANINGS[key]} |"


def metrics() -> Iterator[str]:
    """Rows of the table of metrics."""
    yield from ("| metric | kind | labels | meaning |", "| --- | --- | --- | --- |")
    for entry in CATALOGUE:
        labels = ", ".join(entry.labels)
        yield f"| `{entry.name}` | {entry.kind} | {labels} | {entry.help} |"


def speed(measured: str) -> Iterator[str]:
    """Lines of the section on speed, from the text of tests/bench/README.md; none without figures."""
    blocks = (
        measured.partition("<!-- figures: begin -->")[2].partition("<!-- figures: end -->")[0].split("\n\n")
    )
    tables = [block for block in blocks if any(column in block for column in SPEED_COLUMNS)]
    if tables:
        yield SPEED
        for block in (*(block for block in blocks if block.startswith("Machine:")), *tables):
            yield f"\n{block.strip()}"


def filled(readme: str) -> str:
    """Return the README with its tables made anew."""
    bench = (ROOT / "tests/bench/README.md").read_text(encoding="utf-8")
    tables = {"commands": commands, "config": config_keys, "metrics": metrics}
    texts = {name: "\n".join(rows()) for name, rows in tables.items()}
    texts["alerts"] = alert_table.alert_table().strip()
    texts["speed"] = "\n".join(speed(bench))
    for name, text in texts.items():
        pattern = re.compile(rf"(<!-- {name}:begin -->\n).*?(<!-- {name}:end -->)", re.DOTALL)
        readme, found = pattern.subn(
            lambda match, text=text: match[1] + (text and text + "\n") + match[2], readme
        )
        if found != 1:
            raise ValueError(f"README.md needs one pair of <!-- {name}:begin --> and <!-- {name}:end -->")
    return readme


def profile_schema() -> str:
    """The JSON Schema of profiles."""
    return json.dumps(json_schema(), indent=2) + "\n"


def _keys(section: type[BaseModel], prefix: str) -> Iterator[tuple[str, str]]:
    for name, field in section.model_fields.items():
        key = f"{prefix}{field.alias or name}"
        inner, many = _section_in(field.annotation)
        short = re.sub(r"^(models\[\]|exporter|host)\.", "", key)
        if inner is None or short in _WHOLE:
            yield key, _default(field)
            for part in _PARTS.get(short, ()) if inner else ():
                yield f"{key}.{part}", _default(inner.model_fields[part])
        else:
            yield from _keys(inner, key + ("[]." if many else "."))


def _section_in(annotation: Any) -> tuple[type[BaseModel] | None, bool]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation, False
    many = getattr(annotation, "__origin__", None) is tuple
    for argument in get_args(annotation):
        inner, deeper = _section_in(argument)
        if inner is not None:
            return inner, many or deeper
    return None, False


def _default(field: Any) -> str:
    value = field.default
    if value is PydanticUndefined:
        return "required"
    if value is None or isinstance(value, BaseModel) or value in ((), {}):
        return ""
    if isinstance(value, tuple):
        return "`[" + ", ".join(getattr(item, "name", str(item)) for item in value) + "]`"
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"


if __name__ == "__main__":
    path = ROOT / "README.md"
    path.write_text(filled(path.read_text(encoding="utf-8")), encoding="utf-8")
    PROFILE_SCHEMA.write_text(profile_schema(), encoding="utf-8")
    deploy_files.write(MEANINGS)
