"""What depends on the kind of a model's answer: one file a task."""

from ml_exporter.config_model import Model
from ml_exporter.layout import Layout
from ml_exporter.profile import NumericColumn
from ml_exporter.slots import Slots
from ml_exporter.tasks.binary import Binary
from ml_exporter.tasks.multiclass import Multiclass
from ml_exporter.tasks.regression import Regression
from ml_exporter.tasks.task import Evidence, Task

__all__ = ["Evidence", "Task", "task_of"]


def task_of(model: Model, classes: Slots, layout: Layout) -> Task:
    """The model's task; `classes` are those of a multiclass model, `layout` that of its profile."""
    if model.task == "multiclass":
        return Multiclass(classes, model.top_k)
    if model.task == "regression":
        label = layout.cells.get("label")
        center = label.column.mean if label and isinstance(label.column, NumericColumn) else 0.0
        return Regression(center, model.slo.tolerance if model.slo else None)
    scored = model.predictions.fields.score is not None
    return Binary(scored, model.quality_value, model.segment_roc_auc and bool(model.segments))
