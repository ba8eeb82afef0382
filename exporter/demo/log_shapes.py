"""The models that the demo's traffic plays, and what each of them logs, in SQL over the flights."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

OUTCOMES = ("on_time", "late", "cancelled")
# Without plane_age and seats: where no plane is assigned they are missing, and the flight was cancelled.
OUTCOME_FEATURES = (
    "carrier",
    "origin",
    "dest",
    "hour",
    "weekday",
    "distance",
    "wind_dir",
    "wind_speed",
    "wind_gust",
    "humid",
    "precip",
    "pressure",
    "visib",
    "mean_dep_delay",
)
# Seeded by id, version and model alone, so that a prediction has the same latency in every run:
# lognormal around 20 ms, and one failed request in a thousand.
_LATENCY = """
round(0.02 * exp(0.5
    * sqrt(-2 * ln((md5_number_lower({key})::DOUBLE + 1) / 18446744073709551617))
    * cos(2 * pi() * (md5_number_upper({key})::DOUBLE / 18446744073709551616))), 4)
"""


@dataclass(frozen=True)
class Shape:
    """A model's two logs: where they are below the traffic's folder, and their fields as SQL expressions.

    The expressions are over the columns of `flights` (see `replay.load`), times in milliseconds. A
    prediction is made for each row of `versions`, a label comes where `label_time` is not null.
    """

    model: str
    folder: str
    versions: str
    answer: Mapping[str, str]
    features: str
    label: str
    label_time: str

    def logs(self, folder: Path) -> tuple[Path, Path]:
        """The log of predictions and that of labels below the traffic's folder."""
        return folder / self.folder / "predictions.jsonl", folder / self.folder / "labels.jsonl"

    def prediction(self, time: str) -> dict[str, str]:
        """The fields of a prediction's record in order, `time` being the expression of its time stamp."""
        fields = {"id": "id", "ts": time, "version": "version", **self.answer}
        return fields | {"latency_s": self._latency(), "features": self.features}

    def failed(self) -> str:
        """Whether the request fails in live traffic."""
        return f"md5_number_lower(version || id{self._salt()}) % 1000 = 0"

    def _latency(self) -> str:
        return _LATENCY.format(key=f"id || version{self._salt()}")

    def _salt(self) -> str:
        return f" || '{self.folder}'" if self.folder else ""


def select(fields: Mapping[str, str]) -> str:
    """A SELECT list that names each expression."""
    return ", ".join(f'{expression} AS "{name}"' for name, expression in fields.items())


def _pack(fields: Mapping[str, str]) -> str:
    return "struct_pack(" + ", ".join(f"{name} := {value}" for name, value in fields.items()) + ")"


# Of equal ones the first, as argmax takes it.
_MOST_LIKELY = """
CASE WHEN on_time >= late AND on_time >= cancelled THEN 'on_time' WHEN late >= cancelled THEN 'late' ELSE 'cancelled' END
"""
SHAPES = (
    Shape(
        model="flight-delay",
        folder="",
        versions="true",
        answer={"score": "score", "prediction": "prediction"},
        features="features",
        label="label",
        label_time="label_ts",
    ),
    Shape(
        model="delay-minutes",
        folder="delay-minutes",
        versions="version = '1'",
        answer={"prediction": "minutes", "lower": "minutes_lower", "upper": "minutes_upper"},
        features="features",
        label="arr_delay",
        label_time="label_ts",
    ),
    Shape(
        model="flight-outcome",
        folder="flight-outcome",
        versions="version = '1'",
        answer={"scores": _pack({name: name for name in OUTCOMES}), "prediction": _MOST_LIKELY},
        features=_pack({name: f"features.{name}" for name in OUTCOME_FEATURES}),
        label="CASE WHEN cancelled_ts IS NOT NULL THEN 'cancelled' WHEN label THEN 'late' ELSE 'on_time' END",
        label_time="coalesce(label_ts, cancelled_ts)",
    ),
)
MODELS = tuple(shape.model for shape in SHAPES)
