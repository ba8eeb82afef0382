"""What is known of one model between evaluations: `state += delta`, saved and loaded by the store."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from ml_exporter.columns import Columns
from ml_exporter.concept import Watch
from ml_exporter.config import Model
from ml_exporter.delta import Delta
from ml_exporter.forms import class_slots, segment_slots
from ml_exporter.health import limits_of
from ml_exporter.judged import Judged
from ml_exporter.judging import Judging
from ml_exporter.labels import DELAY_BOUNDS, Verdict
from ml_exporter.layout import Layout
from ml_exporter.limits import columns_of, drift_limits
from ml_exporter.sources.batch import Labels, Predictions
from ml_exporter.sources.decode import OTHER_VERSION
from ml_exporter.sources.files import Position
from ml_exporter.stats.arrays import FloatArray, IntArray
from ml_exporter.stats.sums import RowSums
from ml_exporter.tasks import task_of
from ml_exporter.version import VersionState, hours_of
from ml_exporter.windows import MICROSECONDS, step_of

SOURCES = ("predictions", "labels")
_STICKY = 86_400.0
_UNEXPECTED = 100
"""So many unexpected features are told apart; a log decides how many there are."""


class ModelState:
    """Counts, positions and names of one model. Times in microseconds, `born` in Unix seconds."""

    def __init__(self, model: Model, layouts: Mapping[str, Layout]) -> None:
        self.model = model
        self.layouts = layouts
        self.steps = [step_of(window.seconds) for window in model.windows]
        self.classes = class_slots(model, layouts)
        self.segments = segment_slots(model, layouts)
        self.task = task_of(model, self.classes, layouts["default"])
        limits = drift_limits(model, columns_of(layouts))
        self.columns = {layout: Columns(layout, model, limits) for layout in layouts.values()}
        self.limits = limits_of(model, layouts)
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
        self.forgotten: set[str] = set()
        # Features that no profile knows, with the latest time at which rows had them.
        self.unexpected: dict[str, int] = {}
        # How far time stamps were ahead of the clock, in the newest rows of each log.
        self.ahead: dict[str, int] = {}
        # What forgotten versions have served, without which traffic would seem to have begun with the others.
        self.retired = hours_of(self.task)

    def add(self, delta: Delta, now: float) -> None:
        """Merge what reading a block has added; `now` (Unix seconds) is when new label sets are born."""
        self.positions[delta.source][delta.position.key] = delta.position
        self.outcomes[delta.source] += delta.outcomes
        self.outside += delta.outside
        if delta.source == "predictions" and delta.newest is not None:
            self.newest = max(self.newest or 0, delta.newest)
            for name in delta.unexpected:
                if name in self.unexpected or len(self.unexpected) < _UNEXPECTED:
                    self.unexpected[name] = max(self.unexpected.get(name, 0), delta.newest)
        for name, counts in delta.counts.items():
            state = self.version(name, now)
            state.add_inputs(counts)
            state.newest = max(state.newest, delta.newest or 0)

    def add_verdict(self, verdict: Verdict, clock: int) -> None:
        """Merge judged rows and the labels' outcomes; `clock` is where the quality windows end."""
        for code, parts in verdict.rows.items():
            for rows in parts:
                self.version(self.codes[code], clock / MICROSECONDS).judge(rows, clock)
        for (first, second), sums in verdict.pairs.items():
            pair = self.pairs.setdefault((self.codes[first], self.codes[second]), {})
            for metric, more in sums.items():
                pair[metric] = pair.get(metric, RowSums()) + more
        for code, repeated in verdict.duplicates.items():
            name = self.codes[code]
            # The same id of two versions is no duplicate, and "other" stands for many.
            if name != OTHER_VERSION and name in self.versions:
                self.versions[name].duplicates += repeated
        self.label_outcomes += verdict.outcomes
        self.delays = self.delays + verdict.delays
        self.delay_sum += verdict.delay_sum

    def version(self, name: str, now: float) -> VersionState:
        """Return a version's state under its own name, or under "other" when all places are taken."""
        slot = self.slot(name)
        if slot not in self.versions:
            self.versions[slot] = self.begin(slot, now)
            if slot not in self.codes:
                self.codes.append(slot)
        return self.versions[slot]

    def begin(self, slot: str, born: float) -> VersionState:
        """A version's state without any counts."""
        layout = self.layouts.get(slot, self.layouts["default"])
        segments = len(self.segments), max((slots.size + 2 for slots in self.segments.values()), default=0)
        watch = Watch(self.model.detectors, self.model.tol, layout, self.task)
        judging, model = Judging(self.task, layout, *segments), self.model
        alert = model.windows.index(model.alert_window)
        return VersionState(judging, watch, self.steps, born, model.kept_panes, model.joint_window, alert)

    def slot(self, name: str) -> str:
        """Return the name under which a version is counted."""
        model = self.model
        reserved = {*model.profile, *model.shadow, model.champion, self.champion}
        free = len(self.versions.keys() - {OTHER_VERSION}) < model.version_limit
        return name if name in self.versions or name in reserved or free else OTHER_VERSION

    def version_codes(self, names: Sequence[str], versions: IntArray) -> IntArray:
        """Return the code under which each row waits; `versions` are indices into `names`."""
        codes = np.zeros(len(names), np.int64)
        for index in np.flatnonzero(np.bincount(versions)).tolist():
            codes[index] = self.codes.index(self.slot(names[index]))
        return codes[versions]

    def add_labelled(self, rows: Predictions, codes: IntArray, clock: int) -> None:
        """Judge rows at once that carry their label; `clock` is where the quality windows end."""
        assert rows.labels is not None
        segments = self.segment_codes(rows)
        for code in np.flatnonzero(np.bincount(codes)).tolist():
            chosen = (codes == code) & ~rows.errors
            judged = Judged(
                rows.times[chosen],
                rows.scores[chosen],
                rows.classes[chosen],
                None if rows.details is None else rows.details[chosen],
                rows.labels[chosen],
                segments[chosen],
            )
            self.versions[self.codes[code]].judge(judged, clock)

    def with_own_classes(self, rows: Predictions) -> Predictions:
        """Rows with this model's own codes of classes, for good, in place of those of a block's reader."""
        if self.model.task != "multiclass":
            return rows
        codes = self._class_codes(rows.class_names)
        known = np.minimum(rows.classes, len(rows.class_names))
        classes = np.where(rows.classes < 0, rows.classes, codes[known]).astype(np.int16)
        labels = None if rows.labels is None else _coded(rows.labels, codes)
        return replace(rows, classes=classes, labels=labels)

    def with_own_labels(self, labels: Labels) -> Labels:
        """The same for labels."""
        if self.model.task != "multiclass":
            return labels
        return replace(labels, labels=_coded(labels.labels, self._class_codes(labels.class_names)))

    def _class_codes(self, names: Sequence[str]) -> IntArray:
        """Codes of classes; one that is called "missing" is as any that has no code of its own."""
        codes = self.classes.codes(names)
        return np.where(codes > self.classes.size, self.classes.rest, codes)

    def segment_codes(self, rows: Predictions) -> IntArray:
        """Codes of the values of each segment, shape (n, segments)."""
        codes = np.zeros((len(rows), len(self.segments)), np.int64)
        for column, (name, slots) in enumerate(self.segments.items()):
            own, names = rows.segments[name]
            codes[:, column] = slots.codes(names)[own]
        return codes

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

    def prune_panes(self) -> None:
        """Forget panes that no window from the newest prediction on can reach."""
        newest = self.newest or 0
        for state in self.versions.values():
            state.prune(newest, newest - round(self.model.maturity * MICROSECONDS))

    def prune(self, clock: int, judged_clock: int) -> None:
        """Forget panes that have left their window, and versions that were in none."""
        for state in self.versions.values():
            state.prune(clock, judged_clock)
        self.retired.prune(judged_clock)
        oldest = clock - round(self.model.alert_window.seconds * MICROSECONDS)
        self.unexpected = {name: time for name, time in self.unexpected.items() if time >= oldest}
        # Behind the clock, as after an outage, a version's rows may still lie unread.
        self._forget_versions(min(judged_clock, self.read_until["predictions"]))

    def _forget_versions(self, clock: int) -> None:
        longest = round(self.model.windows[-1].seconds * MICROSECONDS)
        for name in [name for name, state in self.versions.items() if state.newest < clock - longest]:
            if name != self.champion:
                if name not in self.model.shadow:
                    hours = self.versions[name].hours
                    self.retired.add(hours.sums, hours.columns)
                del self.versions[name]
                self.forgotten.add(name)


def _coded(labels: FloatArray, codes: IntArray) -> FloatArray:
    """Codes of labels, NaN where there is none; the last of `codes` stands for missing ones."""
    known = np.where(np.isnan(labels), 0.0, labels).astype(np.int64)
    return np.where(np.isnan(labels), np.nan, codes[np.minimum(known, codes.size - 2)])
