"""Versions compared: how much better a candidate is than the champion."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from ml_exporter.state import ModelState
from ml_exporter.stats.difference import unpaired_difference
from ml_exporter.stats.result import Result, Unavailable
from ml_exporter.stats.sequential import mean_difference
from ml_exporter.version import VersionState, loss_columns

Pairing = Literal["paired", "unpaired"]
ALPHA = 0.05


@dataclass(frozen=True)
class Difference:
    """How much better a candidate is than the baseline; positive is better, whatever the metric."""

    metric: str
    baseline: str
    candidate: str
    pairing: Pairing
    result: Result


def differences(state: ModelState, other: ModelState | None) -> Iterator[Difference]:
    """Every other version against the champion, and the champion against that of another model."""
    champion = state.champion
    if champion is None or champion not in state.versions:
        return
    rivals = [name for name in sorted(state.versions) if name != champion]
    looks = max(len(rivals) + (other is not None), 1) * len(state.task.loss_names)
    for name in rivals:
        if name in state.model.shadow:
            yield from _paired(state, champion, name, ALPHA / looks)
        else:
            yield from _unpaired(
                state.versions[champion], state.versions[name], (champion, name), ALPHA / looks
            )
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
