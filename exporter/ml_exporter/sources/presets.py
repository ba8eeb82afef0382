"""Where the fields stand in the logs of known programs, so that nobody has to map them.

A preset gives what a configuration leaves out. It is a mapping and no more: what a log does not have
(BentoML's names of features, the answer to a request in another line) it cannot give either.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, TypeAlias, get_args

from ml_exporter.config_source import label_text

PredictionPreset: TypeAlias = Literal["ml_exporter", "bentoml", "kserve", "seldon", "sagemaker", "mlflow"]
LabelPreset: TypeAlias = Literal["ml_exporter", "sagemaker"]

_EVENT = {"id": "id", "timestamp": "time"}
# Loggers write requests and answers to one place unless they are told otherwise.
_ANSWERS = {"type": ("org.kubeflow.serving.inference.response", "io.seldon.serving.inference.response")}


@dataclass(frozen=True)
class Preset:
    """Dotted paths of a record's fields.

    `answer` is the one answer that a log has: the score of a binary model, else the class or the number;
    `answers` are those that have a field each, `where` tells them from other records, `labels` is a label
    log's.
    """

    fields: Mapping[str, str]
    answer: str | None = None
    answers: Mapping[str, str] = field(default_factory=dict)
    form: str | None = None
    where: Mapping[str, Sequence[str]] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)

    def of(self, task: str) -> dict[str, str]:
        """The fields of a model's prediction log."""
        found = {**self.fields, **self.answers}
        if self.answer is not None:
            found["score" if task == "binary" else "prediction"] = self.answer
        if task == "regression":
            found.pop("score", None)
        return found


PRESETS: Mapping[str, Preset] = {
    # What `ml_exporter.client` writes.
    "ml_exporter": Preset(
        {"latency_seconds": "latency_seconds", "error": "error"},
        answers={"score": "score", "prediction": "prediction"},
        labels={"id": "id", "timestamp": "timestamp", "label": "label"},
    ),
    # The default monitor's data/*.log: each column that was logged stands beside these.
    "bentoml": Preset({"id": "request_id", "timestamp": "timestamp"}),
    # CloudEvents of the inference logger in structured form: responses of the V1 protocol.
    "kserve": Preset(_EVENT, answer="data.predictions[0]", where=_ANSWERS),
    # The same of the V2 protocol (Open Inference Protocol), which MLServer and Seldon speak.
    "seldon": Preset(_EVENT, answer="data.outputs[0].data[0]", where=_ANSWERS),
    # Data capture: requests and answers as text; the first cell of the answer.
    "sagemaker": Preset(
        {"id": "eventMetadata.eventId", "timestamp": "eventMetadata.inferenceTime"},
        answer="captureData.endpointOutput.data|csv[0]",
        labels={"id": "eventMetadata.eventId", "label": "groundTruthData.data|csv[0]"},
    ),
    # Inference tables of a served MLflow model: requests and answers as JSON in a column of text.
    "mlflow": Preset(
        {"id": "databricks_request_id", "timestamp": "timestamp_ms"},
        answer="response|json.predictions[0]",
        form="parquet",
    ),
}


def with_presets(model: object) -> object:
    """Return a model's part of a configuration with what the presets that it names have to give."""
    if not isinstance(model, Mapping):
        return model
    task = label_text(model.get("task")) or "binary"
    changed = dict(model)
    for key, names in (("predictions", PredictionPreset), ("labels", LabelPreset)):
        log = model.get(key)
        name = label_text(log.get("preset")) if isinstance(log, Mapping) else None
        if isinstance(log, Mapping) and name is not None and name in get_args(names):
            preset = PRESETS[name]
            changed[key] = _filled(log, preset, preset.of(task) if key == "predictions" else preset.labels)
    return changed


def _filled(log: Mapping[str, object], preset: Preset, fields: Mapping[str, str]) -> Mapping[str, object]:
    given = log.get("fields")
    if given is not None and not isinstance(given, Mapping):
        return log
    own = {} if preset.form is None else {"format": preset.form}
    where = {"where": preset.where} if preset.where else {}
    return {**own, **where, **log, "fields": {**fields, **(given or {})}}
