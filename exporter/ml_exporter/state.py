"""What is known of one model between evaluations: `state += delta`, saved and loaded by the store."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from ml_exporter.config import Model
from ml_exporter.counting import Counts, Judged, count_judged
from ml_exporter.delta import Delta
from ml_exporter.labels import DELAY_BOUNDS, Verdict
from ml_exporter.layout import Layout
from ml_exporter.sources.batch import Predictions
from ml_exporter.sources.decode import OTHER_VERSION
from ml_exporter.sources.files import Position
from ml_exporter.stats.arrays import IntArray
from ml_exporter.stats.sums import RowSums
from ml_exporter.store import PaneKey, Store
from ml_exporter.tally import JUDGED, Shape, Tally, input_shape
from ml_exporter.windows import MICROSECONDS, Panes, step_of

SOURCES = ("predictions", "labels")
_STICKY = 86_400.0


class VersionState:
    """Counts of one version: since ever, and per window."""

    def __init__(self, layout: Layout, steps: Sequence[int], born: float) -> None:
        self.layout = layout
        self.born = born
        self.newest = 0
        self.shapes: dict[str, Shape] = {
            "inputs": input_shape(layout.size, len(layout.cells)),
            "judged": JUDGED,
        }
        self.totals = {kind: Tally.zeros(shape) for kind, shape in self.shapes.items()}
        self.panes = {kind: [Panes(step) for step in steps] for kind in self.shapes}

    def add(self, kind: str, counts: Counts) -> None:
        """Merge counts of `inputs` or `judged` rows."""
        self.totals[kind] = self.totals[kind] + counts.total
        for (window, pane), tally in counts.panes.items():
            self.panes[kind][window].add(pane, tally)

    def window(self, kind: str, index: int, time: int) -> Tally:
        """Counts in a window at `time` (microseconds)."""
        return Tally.sum(self.shapes[kind], self.panes[kind][index].at(time))


class ModelState:
    """Counts, positions and names of one model. Times in microseconds, `born` in Unix seconds."""

    def __init__(self, model: Model, layouts: Mapping[str, Layout]) -> None:
        self.model = model
        self.layouts = layouts
        self.steps = [step_of(window.seconds) for window in model.windows]
        self.versions: dict[str, VersionState] = {}
        self.codes: list[str] = []
        self.positions: dict[str, dict[str, Position]] = {source: {} for source in SOURCES}
        self.outcomes: dict[str, Counter[str]] = {source: Counter() for source in SOURCES}
        self.truncations: Counter[str] = Counter()
        self.label_outcomes: Counter[str] = Counter()
        self.delays: IntArray = np.zeros(len(DELAY_BOUNDS) + 1, np.int64)
        self.delay_sum = 0.0
        self.outside = 0
        self.newest: int | None = None
        self.read_until: dict[str, int] = dict.fromkeys(SOURCES, 0)
        self.judged_until = 0
        self.born: float | None = None
        self.champion: str | None = model.champion
        self.contender: tuple[str, float] | None = None
        self.pairs: dict[tuple[str, str], dict[str, RowSums]] = {}
        self._forgotten: set[str] = set()

    def add(self, delta: Delta, now: float) -> None:
        """Merge what reading a block has added; `now` (Unix seconds) is when new label sets are born."""
        self.positions[delta.source][delta.position.key] = delta.position
        self.outcomes[delta.source] += delta.outcomes
        self.outside += delta.outside
        if delta.source == "predictions" and delta.newest is not None:
            self.newest = max(self.newest or 0, delta.newest)
        for name, counts in delta.counts.items():
            state = self.version(name, now)
            state.add("inputs", counts)
            state.newest = max(state.newest, delta.newest or 0)

    def add_verdict(self, verdict: Verdict, clock: int) -> None:
        """Merge judged rows and the labels' outcomes; `clock` is where the quality windows end."""
        for code, parts in verdict.rows.items():
            for rows in parts:
                state = self.version(self.codes[code], clock / MICROSECONDS)
                state.add("judged", count_judged(rows, self.steps, clock))
        for (first, second), sums in verdict.pairs.items():
            pair = self.pairs.setdefault((self.codes[first], self.codes[second]), {})
            for metric, more in sums.items():
                pair[metric] = pair.get(metric, RowSums()) + more
        self.label_outcomes += verdict.outcomes
        self.delays = self.delays + verdict.delays
        self.delay_sum += verdict.delay_sum

    def version(self, name: str, now: float) -> VersionState:
        """Return a version's state under its own name, or under "other" when all places are taken."""
        slot = self.slot(name)
        if slot not in self.versions:
            self.versions[slot] = self._begin(slot, now)
            if slot not in self.codes:
                self.codes.append(slot)
        return self.versions[slot]

    def _begin(self, slot: str, born: float) -> VersionState:
        return VersionState(self.layouts.get(slot, self.layouts["default"]), self.steps, born)

    def slot(self, name: str) -> str:
        """Return the name under which a version is counted."""
        model = self.model
        reserved = {*model.profile, *model.shadow, model.champion, self.champion}
        free = len(self.versions.keys() - {OTHER_VERSION}) < model.version_limit
        return name if name in self.versions or name in reserved or free else OTHER_VERSION

    def version_codes(self, names: Sequence[str], versions: IntArray) -> IntArray:
        """Return the code under which each row waits; `versions` are indices into `names`."""
        codes = np.zeros(len(names), np.int64)
        for index in np.unique(versions):
            codes[index] = self.codes.index(self.slot(names[index]))
        return codes[versions]

    def add_labelled(self, rows: Predictions, codes: IntArray, clock: int) -> None:
        """Judge rows at once that carry their label; `clock` is where the quality windows end."""
        assert rows.labels is not None
        for code in np.unique(codes):
            chosen = (codes == code) & ~rows.errors
            judged = Judged(
                rows.times[chosen], rows.scores[chosen], rows.classes[chosen], rows.labels[chosen]
            )
            self.versions[self.codes[code]].add("judged", count_judged(judged, self.steps, clock))

    def choose_champion(self, time: int) -> None:
        """Make the version with most traffic champion, where the configuration names none.

        It stays champion until another has had more than half of the traffic for a day.
        """
        if self.model.champion:
            return
        traffic = {
            name: version.window("inputs", len(self.steps) - 1, time).count("rows")
            for name, version in self.versions.items()
            if name not in self.model.shadow
        }
        now, total = time / MICROSECONDS, sum(traffic.values())
        leader = max(sorted(traffic), key=lambda name: traffic[name], default=None)
        if leader is None or leader == self.champion or 2 * traffic[leader] <= total:
            self.contender = None
        elif self.contender is None or self.contender[0] != leader:
            self.contender = (leader, now)
        settled = self.contender is not None and now - self.contender[1] >= _STICKY
        if leader is not None and (settled or self.champion not in traffic):
            self.champion, self.contender = leader, None

    def prune(self, clock: int, judged_clock: int) -> None:
        """Forget panes that have left their window, and versions that were in none."""
        clocks = {"inputs": clock, "judged": judged_clock}
        for state in self.versions.values():
            for kind, windows in state.panes.items():
                for panes in windows:
                    panes.prune(clocks[kind])
        self._forget_versions(judged_clock)

    def _forget_versions(self, clock: int) -> None:
        longest = round(self.model.windows[-1].seconds * MICROSECONDS)
        for name in [name for name, state in self.versions.items() if state.newest < clock - longest]:
            if name != self.champion:
                del self.versions[name]
                self._forgotten.add(name)

    def save(self, store: Store, code: int) -> None:
        """Write everything that has changed; inside the store's transaction."""
        store.save_documents(code, {"state": self._document(), "meaning": self._meaning()})
        store.drop_panes(code, self._forgotten)
        store.save_panes(code, self._changed_panes())
        self._forgotten.clear()
        for state in self.versions.values():
            for windows in state.panes.values():
                for panes in windows:
                    panes.changed.clear()

    def load(self, store: Store, code: int) -> bool:
        """Take over what `save` has written, as far as profiles and windows are still the same.

        Returns whether rows that wait still mean what they meant: false where the log's fields have
        changed since.
        """
        documents = store.documents(code)
        if "state" not in documents:
            return True
        self._read_document(documents["state"])
        then, now = documents["meaning"], self._meaning()
        windows = [name for name, seconds in now["windows"] if [name, seconds] in then["windows"]]
        stale: list[tuple[PaneKey, None]] = []
        for (version, kind, window, pane), data in store.panes(code):
            state = self.versions[version]
            same = kind == "judged" or _profile(then, version) == _profile(now, version)
            if window == "":
                shape = state.shapes[kind]
                state.totals[kind] = Tally.from_bytes(shape, data) if same else _traffic(shape, data)
            elif same and window in windows:
                self._put(state, kind, window, pane, data)
            else:
                stale.append(((version, kind, window, pane), None))
        store.save_panes(code, stale)
        return bool(then["fields"] == now["fields"])

    def _put(self, state: VersionState, kind: str, window: str, pane: int, data: bytes) -> None:
        index = [item.name for item in self.model.windows].index(window)
        state.panes[kind][index].tallies[pane] = Tally.from_bytes(state.shapes[kind], data)

    def _changed_panes(self) -> Iterator[tuple[PaneKey, bytes | None]]:
        for name, state in self.versions.items():
            for kind, windows in state.panes.items():
                yield (name, kind, "", 0), state.totals[kind].to_bytes()
                for window, panes in zip(self.model.windows, windows, strict=True):
                    for pane in panes.changed:
                        tally = panes.tallies.get(pane)
                        yield (name, kind, window.name, pane), tally.to_bytes() if tally else None

    def _meaning(self) -> dict[str, Any]:
        """What stored counts and waiting rows depend on."""
        model = self.model
        digests = {name: layout.profile and layout.profile.digest() for name, layout in self.layouts.items()}
        fields = model.predictions.fields
        return {
            "profiles": digests,
            "windows": [[window.name, window.seconds] for window in model.windows],
            "fields": {
                "predictions": [fields.id, fields.timestamp, fields.version, fields.score, fields.prediction],
                "labels": model.labels and model.labels.fields.model_dump(),
                "positive": model.positive,
            },
        }

    def _document(self) -> dict[str, Any]:
        return {
            "versions": {name: [state.born, state.newest] for name, state in self.versions.items()},
            "codes": self.codes,
            "positions": {
                source: [vars(position) for position in known.values()]
                for source, known in self.positions.items()
            },
            "outcomes": self.outcomes,
            "truncations": self.truncations,
            "label_outcomes": self.label_outcomes,
            "delays": self.delays.tolist(),
            "delay_sum": self.delay_sum,
            "outside": self.outside,
            "newest": self.newest,
            "read_until": self.read_until,
            "judged_until": self.judged_until,
            "born": self.born,
            "champion": self.champion,
            "contender": self.contender,
            "pairs": [
                [*pair, {name: [rows.n, rows.total, rows.squares] for name, rows in sums.items()}]
                for pair, sums in self.pairs.items()
            ],
        }

    def _read_document(self, document: Mapping[str, Any]) -> None:
        self.codes = list(document["codes"])
        for name, (born, newest) in document["versions"].items():
            self.versions[name] = self._begin(name, born)
            self.versions[name].newest = newest
        for source, positions in document["positions"].items():
            found = (Position(**position) for position in positions)
            self.positions[source] = {position.key: position for position in found}
        self.outcomes = {source: Counter(counts) for source, counts in document["outcomes"].items()}
        self.truncations = Counter(document["truncations"])
        self.label_outcomes = Counter(document["label_outcomes"])
        self.delays = np.asarray(document["delays"], np.int64)
        self.delay_sum = document["delay_sum"]
        self.outside, self.newest, self.born = document["outside"], document["newest"], document["born"]
        self.read_until, self.judged_until = dict(document["read_until"]), document["judged_until"]
        for first, second, sums in document["pairs"]:
            self.pairs[first, second] = {name: RowSums(*rows) for name, rows in sums.items()}
        contender = document["contender"]
        self.contender = (contender[0], contender[1]) if contender else None
        self.champion = self.model.champion or document["champion"]


def _profile(meaning: Mapping[str, Any], version: str) -> str | None:
    """The digest of a version's profile."""
    profiles: dict[str, str | None] = meaning["profiles"]
    return profiles.get(version, profiles["default"])


def _traffic(shape: Shape, data: bytes) -> Tally:
    """What is left of stored input counts when the profile has changed: all but the bins."""
    kept = input_shape(0, 0)
    stored = Tally.from_bytes(kept, data[: len(Tally.zeros(kept).to_bytes())])
    counters = {name: array for name, array in stored.arrays.items() if array.size}
    return Tally({**Tally.zeros(shape).arrays, **counters})
