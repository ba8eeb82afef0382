"""A model's state in the store: written as it changes, and read as far as it still means the same."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from ml_exporter.pending import recode_segments
from ml_exporter.sources.files import Position
from ml_exporter.state import ModelState
from ml_exporter.stats.arrays import IntArray
from ml_exporter.stats.sums import RowSums
from ml_exporter.store import PaneKey, Store
from ml_exporter.version import HOURS

RETIRED = ""
"""Stands in a version's place for what forgotten ones have served."""


def save(state: ModelState, store: Store, code: int) -> None:
    """Write everything that has changed; inside the store's transaction."""
    store.save_documents(code, {"state": _document(state), "meaning": _meaning(state)})
    store.drop_panes(code, state.forgotten)
    store.save_panes(code, _changed_panes(state))
    state.forgotten.clear()
    state.retired.changed.clear()
    for version in state.versions.values():
        version.saved()


def load(state: ModelState, store: Store, code: int) -> bool:
    """Take over what `save` has written, as far as profiles and windows are still the same.

    Returns whether rows that wait still mean what they meant: false where the log's fields have
    changed since.
    """
    documents = store.documents(code)
    if "state" not in documents:
        return True
    document, then, now = documents["state"], documents["meaning"], _meaning(state)
    _read_document(state, document)
    if then["segments"] != now["segments"]:
        recode_segments(store, code, _moved_segments(state, then["segments"], document["segments"]))
    unchanged = [
        name if [name, seconds] in then["windows"] else "(changed)" for name, seconds in now["windows"]
    ]
    stale: list[tuple[PaneKey, None]] = []
    for key, data in store.panes(code):
        task, profile = _same(then, now, key)
        if key[0] == RETIRED and task:
            state.retired.restore(key[3], data)
        elif key[0] == RETIRED or not state.versions[key[0]].restore(key, data, unchanged, task, profile):
            stale.append((key, None))
    store.save_panes(code, stale)
    if then != now:
        # At once, so that nothing that is stored now is taken for what it meant then.
        save(state, store, code)
    return bool(then["fields"] == now["fields"])


def _moved_segments(
    state: ModelState, then: Sequence[Sequence[Any]], names: Mapping[str, Sequence[str]]
) -> list[tuple[int | None, IntArray]]:
    """For each segment its place in an earlier run, None where it is new, and its codes of then as those of now."""
    places = {name: (place, size) for place, (name, size, *_) in enumerate(then)}
    found: list[tuple[int | None, IntArray]] = []
    for name, slots in state.segments.items():
        place, size = places.get(name, (None, 0))
        found.append((place, slots.recoded(names[name] if place is not None else (), size)))
    return found


def _changed_panes(state: ModelState) -> Iterator[tuple[PaneKey, bytes | None]]:
    windows = [window.name for window in state.model.windows]
    for name, version in state.versions.items():
        for key, data in version.changed(windows):
            yield (name, *key), data
    for hour, data in state.retired.stored():
        yield (RETIRED, HOURS, HOURS, hour), data


def _meaning(state: ModelState) -> dict[str, Any]:
    """What stored counts and waiting rows depend on."""
    model = state.model
    digests = {name: layout.profile and layout.profile.digest for name, layout in state.layouts.items()}
    fields = model.predictions.fields
    score = fields.score if fields.score is None or isinstance(fields.score, str) else dict(fields.score)
    return {
        "profiles": digests,
        "windows": [[window.name, window.seconds] for window in model.windows],
        "segments": [[name, slots.size, *slots.known] for name, slots in state.segments.items()],
        "ranked": state.task.segment_bins,
        "task": [model.task, model.positive, *state.task.meaning],
        "fields": {
            "task": model.task,
            "classes": [state.classes.size, *state.classes.known],
            "predictions": [fields.id, fields.timestamp, fields.version, score, fields.prediction],
            "labels": model.labels and model.labels.fields.model_dump(),
            "positive": model.positive,
            "interval": model.interval and model.interval.model_dump(),
        },
    }


def _document(state: ModelState) -> dict[str, Any]:
    return {
        "versions": {name: [version.born, version.newest] for name, version in state.versions.items()},
        "duplicates": {name: version.duplicates for name, version in state.versions.items()},
        "unexpected": state.unexpected,
        "codes": state.codes,
        "classes": state.classes.names,
        "segments": {name: slots.names for name, slots in state.segments.items()},
        "watch": {name: version.watch.document() for name, version in state.versions.items()},
        "positions": {
            source: [vars(position) for position in known.values()]
            for source, known in state.positions.items()
        },
        "outcomes": state.outcomes,
        "truncations": state.truncations,
        "label_outcomes": state.label_outcomes,
        "delays": state.delays.tolist(),
        "delay_sum": state.delay_sum,
        "outside": state.outside,
        "newest": state.newest,
        "read_until": state.read_until,
        "judged_until": state.judged_until,
        "born": state.born,
        "champion": state.champion,
        "contender": state.contender,
        "pairs": [
            [*pair, {name: [rows.n, rows.total, rows.squares] for name, rows in sums.items()}]
            for pair, sums in state.pairs.items()
        ],
    }


def _read_document(state: ModelState, document: Mapping[str, Any]) -> None:
    state.codes, state.unexpected = list(document["codes"]), dict(document["unexpected"])
    state.classes.restore(document["classes"])
    for name, slots in state.segments.items():
        slots.restore(document["segments"].get(name, []))
    for name, (born, newest) in document["versions"].items():
        state.versions[name] = state.begin(name, born)
        state.versions[name].newest = newest
        state.versions[name].duplicates = document["duplicates"][name]
        state.versions[name].watch.restore(document["watch"][name])
    for source, positions in document["positions"].items():
        found = (Position(**position) for position in positions)
        state.positions[source] = {position.key: position for position in found}
    state.outcomes = {source: Counter(counts) for source, counts in document["outcomes"].items()}
    state.truncations = Counter(document["truncations"])
    state.label_outcomes = Counter(document["label_outcomes"])
    state.delays = np.asarray(document["delays"], np.int64)
    state.delay_sum = document["delay_sum"]
    state.outside, state.newest, state.born = document["outside"], document["newest"], document["born"]
    state.read_until, state.judged_until = dict(document["read_until"]), document["judged_until"]
    for first, second, sums in document["pairs"]:
        state.pairs[first, second] = {name: RowSums(*rows) for name, rows in sums.items()}
    contender = document["contender"]
    state.contender = (contender[0], contender[1]) if contender else None
    state.champion = state.model.champion or document["champion"]


def _same(then: Mapping[str, Any], now: Mapping[str, Any], key: PaneKey) -> tuple[bool, bool]:
    """Whether task and profile mean the same for stored counts as far as these depend on them."""
    version, kind, *_ = key
    if kind == HOURS:
        return then["task"][:2] == now["task"][:2], True
    profile = _profile(then, version) == _profile(now, version)
    if kind != "judged":
        return True, profile
    segments = all(then.get(part) == now[part] for part in ("segments", "ranked"))
    return then["task"] == now["task"], profile and segments


def _profile(meaning: Mapping[str, Any], version: str) -> str | None:
    """The digest of a version's profile."""
    profiles: dict[str, str | None] = meaning["profiles"]
    return profiles.get(version, profiles["default"])
