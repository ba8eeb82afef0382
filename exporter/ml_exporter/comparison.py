"""Versions compared: how much better a candidate is than the champion."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np

from ml_exporter.state import ModelState
from ml_exporter.stats.arrays import FloatArray
from ml_exporter.stats.classification import BINARY_METRICS, BinaryEvidence
from ml_exporter.stats.difference import block_difference, unpaired_difference
from ml_exporter.stats.result import Result, Unavailable, Value
from ml_exporter.stats.sequential import mean_difference
from ml_exporter.tally import Tally
from ml_exporter.tasks.binary import binary_evidence
from ml_exporter.version import VersionState, loss_columns

Pairing = Literal["paired", "unpaired"]
ALPHA = 0.05
RANKED = ("roc_auc", "f1")
"""Metrics whose bounds hold at one look only: shown, and nobody is paged for them."""


@dataclass(frozen=True)
class Difference:
    """How much better a candidate is than the baseline; positive is better, whatever the metric."""

    metric: str
    baseline: str
    candidate: str
    pairing: Pairing
    result: Result


def differences(state: ModelState, other: ModelState | None, time: int) -> Iterator[Difference]:
    """Every other version against the champion, and the champion against that of another model.

    `time` (microseconds) is where the quality windows end.
    """
    champion = state.champion
    if champion is None or champion not in state.versions:
        return
    rivals = [name for name in sorted(state.versions) if name != champion]
    looks = max(len(rivals) + (other is not None), 1) * len(state.task.loss_names)
    for name in rivals:
        names = champion, name
        if name in state.model.shadow:
            yield from _paired(state, champion, name, ALPHA / looks)
        else:
            yield from _unpaired(state.versions[champion], state.versions[name], names, ALPHA / looks)
        if state.model.task == "binary":
            yield from _ranked(state, names, time)
    if other is not None and other.champion in other.versions:
        names = f"{other.model.name}/{other.champion}", champion
        yield from _unpaired(other.versions[other.champion], state.versions[champion], names, ALPHA / looks)


def _paired(state: ModelState, baseline: str, candidate: str, alpha: float) -> Iterator[Difference]:
    """Differences on the same ids, which a shadow shares with the champion."""
    sums = state.pairs.get((baseline, candidate), {})
    for metric in state.task.loss_names:
        rows = sums.get(metric)
        result = Unavailable("too_few_rows") if rows is None else mean_difference(rows, alpha)
        yield Difference(metric, baseline, candidate, "paired", result)


def _unpaired(
    baseline: VersionState, candidate: VersionState, names: tuple[str, str], alpha: float
) -> Iterator[Difference]:
    """Differences of the means within each hour in which both were judged."""
    hours = sorted(baseline.hours.sums.keys() & candidate.hours.sums.keys())
    for metric in candidate.judging.task.loss_names:
        columns = loss_columns((metric,))
        if columns[0] not in baseline.hours.columns:
            continue
        first, second = (version.hours.table(columns, hours) for version in (baseline, candidate))
        both = (first[:, 0] > 0) & (second[:, 0] > 0)
        result = unpaired_difference(first[both], second[both], alpha, binary=metric == "accuracy")
        yield Difference(metric, *names, "unpaired", result)


def _ranked(state: ModelState, names: tuple[str, str], time: int) -> Iterator[Difference]:
    """Metrics that are no mean of rows, over the blocks of the alert window that both versions share."""
    model = state.model
    index = model.windows.index(model.alert_window)
    first, second = (state.versions[name].blocks(index, time) for name in names)
    shared = sorted(first.keys() & second.keys())
    pairing: Pairing = "paired" if names[1] in model.shadow else "unpaired"
    for metric in RANKED:
        sides = [_left_out(metric, [blocks[number] for number in shared]) for blocks in (first, second)]
        n = sum(blocks[number].count("labelled") for blocks in (first, second) for number in shared)
        yield Difference(metric, *names, pairing, _apart(sides[0], sides[1], n))


def _left_out(metric: str, blocks: list[Tally]) -> FloatArray:
    """A metric of all blocks, then without each of them; NaN where it cannot be computed."""
    parts = [binary_evidence(block) for block in blocks]
    chosen = [parts, *([*parts[:place], *parts[place + 1 :]] for place in range(len(parts)))]
    results = [BINARY_METRICS[metric](BinaryEvidence.merge(some), 1.0) for some in chosen]
    return np.asarray([result.value if isinstance(result, Value) else np.nan for result in results])


def _apart(baseline: FloatArray, candidate: FloatArray, n: int) -> Result:
    if not (np.isfinite(baseline[0]) and np.isfinite(candidate[0])):
        return Unavailable("too_few_rows")
    return block_difference(float(baseline[0]), float(candidate[0]), baseline[1:], candidate[1:], n)
