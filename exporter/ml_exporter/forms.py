"""What a model's configuration and profile say of its answers, labels and segments in the logs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from ml_exporter.config import Model
from ml_exporter.layout import Layout
from ml_exporter.profile import CategoricalColumn
from ml_exporter.slots import Slots
from ml_exporter.sources import sql
from ml_exporter.sources.answers import AnswerForm, BinaryForm, ClassForm, NumberForm

Layouts = Mapping[str, Layout]

CLASS_CODES = 250
"""So many classes are told apart in a log whose classes nobody names; each reader learns its own ones."""


def class_slots(model: Model, layouts: Layouts) -> Slots:
    """The classes of a multiclass model: as configured, else those of its profiles, else as they are met.

    Those that are known are in the order of their names, so that rows that wait mean the same with a
    profile in which other ones are the most frequent.
    """
    score = model.predictions.fields.score
    named = () if score is None or isinstance(score, str) else tuple(score)
    chosen = Slots(model.class_limit, named or known_values(layouts.values(), "label"))
    return Slots(model.class_limit, sorted(chosen.names))


def segment_slots(model: Model, layouts: Layouts) -> dict[str, Slots]:
    """The values of each segment that are told apart."""
    return {name: Slots(model.segment_limit, known_values(layouts.values(), name)) for name in model.segments}


def known_values(layouts: Iterable[Layout], name: str) -> list[str]:
    """Values of a categorical column in any profile, the most frequent first."""
    found: dict[str, int] = {}
    for layout in layouts:
        cells = layout.cells.get(name)
        if cells and isinstance(cells.column, CategoricalColumn):
            column = cells.column
            for value, rows in zip(column.categories, column.counts, strict=False):
                found[value] = max(rows, found.get(value, 0))
    return sorted(found, key=lambda value: (-found[value], value))


def prediction_form(model: Model, layouts: Layouts) -> AnswerForm:
    """How an answer stands in the prediction log."""
    fields = model.predictions.fields
    if model.task == "regression":
        interval = (model.interval.lower, model.interval.upper) if model.interval else None
        return NumberForm(fields.prediction, model.label_field, interval)
    if model.task == "multiclass":
        classes = class_slots(model, layouts).names
        paths = _probabilities(model, classes)
        return ClassForm(fields.prediction, model.label_field, classes, paths, len(classes) or CLASS_CODES)
    assert fields.score is None or isinstance(fields.score, str)
    return BinaryForm(fields.score, fields.prediction, model.label_field, model.positive)


def label_form(model: Model, layouts: Layouts) -> AnswerForm:
    """How a label stands in the label log."""
    assert model.labels is not None
    path = model.labels.fields.label
    if model.task == "regression":
        return NumberForm(None, path)
    if model.task == "multiclass":
        classes = class_slots(model, layouts).names
        return ClassForm(None, path, classes, {}, len(classes) or CLASS_CODES)
    return BinaryForm(None, None, path, model.positive)


def details(model: Model, layouts: Layouts) -> int:
    """How many numbers an answer has beside its score."""
    if model.task == "regression":
        return 2 if model.interval else 0
    if model.task == "multiclass":
        return len(_probabilities(model, class_slots(model, layouts).names))
    return 0


def _probabilities(model: Model, classes: Iterable[str]) -> dict[str, str]:
    """Paths of the classes' probabilities: below the object of scores, or as configured.

    There are none where they differ only in case: a reader cannot tell these apart.
    """
    score = model.predictions.fields.score
    if score is None:
        return {}
    if isinstance(score, str):
        paths = {name: f"{score}.{sql.escaped(name)}" for name in classes}
    else:
        paths = {name: score[name] for name in classes}
    return paths if len({path.lower() for path in paths.values()}) == len(paths) else {}
