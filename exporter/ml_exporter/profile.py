"""The reference profile: what a model's columns looked like on rows it was not trained on.

A profile is a readable JSON file with counts per bin. `ml_exporter profile` makes it
(`profile_build.py`), the exporter compares with it. Nothing in it is a row.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from ml_exporter.sources.batch import Source
from ml_exporter.stats.estimation import Calibration
from ml_exporter.stats.expected_loss import ExpectedLoss
from ml_exporter.stats.multivariate import METHODS, SampleFloor
from ml_exporter.stats.noise import FloorTable

FORMAT = 1


class ProfileError(Exception):
    """A profile that cannot be read; the text names file, key and remedy."""


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Floor(_Frozen):
    """What sampling adds to a distance over the numbers of rows, as `stats.noise.FloorTable` keeps it."""

    quantile: float
    sizes: tuple[int, ...]
    ratios: tuple[int, ...]
    scaled: tuple[tuple[float, ...], ...]


class Noise(_Frozen):
    """What one method shows on one column without drift.

    `chunks` has, for each window, the largest value over the reference's own chunks of that length,
    each against the rest; windows with too few chunks are left out. `limits` are those suggested for
    them: that value and the floor of a chunk on top, as any stretch of this length may exceed the
    largest of a few. `seasonal` names the windows of which half the chunks exceed three times the
    floor: what is in the column changes with the time of day or year.
    """

    method: str
    floor: Floor
    chunks: Mapping[str, float]
    limits: Mapping[str, float] = Field(default_factory=dict)
    seasonal: tuple[str, ...] = ()

    @cached_property
    def table(self) -> FloorTable:
        """The sampling noise as a function of the numbers of rows."""
        floor = self.floor
        return FloorTable(self.method, floor.quantile, floor.sizes, floor.ratios, floor.scaled)


class Embedding(_Frozen):
    """Where the vectors of a column lie: their mean, made from `rows` of them, and their deviation from it.

    `floor` is the 1e-4 quantile of the squared distance of a mean from the reference's, in deviations,
    times its rows; `chunks` and `limits` as in `Noise`.
    """

    rows: int = Field(gt=0)
    centroid: tuple[float, ...] = Field(min_length=1)
    deviation: float = Field(gt=0)
    floor: float = Field(ge=0)
    chunks: Mapping[str, float] = Field(default_factory=dict)
    limits: Mapping[str, float] = Field(default_factory=dict)


class NumericColumn(_Frozen):
    """Fine bins of a numeric column.

    A value v belongs to the fine bin `searchsorted(edges, (v - center) / scale, side="right")`;
    edges lie on the grid of `layout.grid_codes`. `positions` are the bins' mean values in the
    column's own unit, `groups` maps fine bins to the PSI's bins, `counts` are the reference's rows.
    `losses` are the mean main losses of the labelled rows in the bins, then in `missing`, null where
    there are too few; empty where nothing is labelled.

    `source` is what the number is: that of the record, the length of a text in characters, the age
    of a time stamp in seconds when its row was predicted, or the Euclidean norm of an embedding; of texts,
    `empty` ones are counted too, and `embedding` is where the vectors lie.
    `fences` are Tukey's, 1.5 interquartile ranges beyond the quartiles; both lie on edges of bins.
    `worst` has, by window and check, the largest share of values that failed it in one chunk of the
    reference, and as `constant` the largest share of one bin. `note` says what the column was taken for, and why.
    """

    kind: Literal["numeric"]
    source: Source = "number"
    note: str = ""
    center: float
    scale: float = Field(gt=0)
    edges: tuple[float, ...]
    positions: tuple[float, ...]
    groups: tuple[int, ...]
    counts: tuple[int, ...]
    missing: int
    minimum: float
    maximum: float
    mean: float
    deviation: float
    fences: tuple[float, float] | None = None
    empty: float = 0.0
    embedding: Embedding | None = None
    worst: Mapping[str, Mapping[str, float]] = Field(default_factory=dict)
    losses: tuple[float | None, ...] = ()
    noise: Mapping[str, Noise] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _knows_its_vectors(self) -> Self:
        if self.source == "embedding" and self.embedding is None:
            raise ValueError("an embedding needs the place of its vectors")
        return self

    @property
    def taken_for(self) -> str:
        """The kind of column in the configuration's words."""
        return self.kind if self.source == "number" else self.source

    @property
    def size(self) -> int:
        """Fine bins, without `missing`."""
        return len(self.counts)

    @cached_property
    def outlying(self) -> tuple[int, ...]:
        """The bins beyond the fences."""
        if self.fences is None:
            return ()
        scaled = [(fence - self.center) / self.scale for fence in self.fences]
        low, high = (_nearest(self.edges, fence) for fence in scaled)
        return (*range(low + 1), *range(high + 1, self.size))

    def bin_names(self) -> tuple[str, ...]:
        """Readable names of the PSI's bins, zero-padded so that they sort, `missing` last."""
        inner = [
            edge * self.scale + self.center
            for edge, left, right in zip(self.edges, self.groups[:-1], self.groups[1:], strict=True)
            if left != right
        ]
        bounds = ["-inf", *(f"{edge:.5g}" for edge in inner), "inf"]
        pairs = pairwise(bounds)
        return (*(f"{index:02d} [{low}, {high})" for index, (low, high) in enumerate(pairs)), "missing")


class CategoricalColumn(_Frozen):
    """Categories of a column: the frequent ones by name, then `rare` together, then `unseen`.

    `counts` has one number for each frequent category, one for all rare ones, and 0 for unseen;
    `singletons` is how many categories were met once. `worst`, `note` and `losses` as in a numeric column.
    """

    kind: Literal["categorical"]
    note: str = ""
    categories: tuple[str, ...]
    rare: tuple[str, ...]
    counts: tuple[int, ...]
    missing: int
    singletons: int = 0
    worst: Mapping[str, Mapping[str, float]] = Field(default_factory=dict)
    losses: tuple[float | None, ...] = ()
    noise: Mapping[str, Noise] = Field(default_factory=dict)

    @property
    def taken_for(self) -> str:
        """The kind of column in the configuration's words."""
        return self.kind

    @property
    def size(self) -> int:
        """Bins, without `missing`."""
        return len(self.categories) + 2

    @property
    def rare_code(self) -> int:
        """The bin of all rare categories."""
        return len(self.categories)

    @property
    def unseen_code(self) -> int:
        """The bin of categories that the reference does not have."""
        return len(self.categories) + 1

    def bin_names(self) -> tuple[str, ...]:
        """Readable names of the bins, zero-padded so that they sort, `missing` last."""
        width = max(2, len(str(len(self.categories))))
        names = (f"{index:0{width}d} {name}" for index, name in enumerate(self.categories))
        return (*names, "rare", "unseen", "missing")


Column: TypeAlias = Annotated[NumericColumn | CategoricalColumn, Field(discriminator="kind")]


class Chunks(_Frozen):
    """How the reference was cut for one window: length in the data's own time, and how many."""

    seconds: float
    chunks: int


class Reference(_Frozen):
    """Quality of the rows behind the profile."""

    value: float
    lower: float | None
    upper: float | None
    n: int


class ExpectedLossByBin(_Frozen):
    """The loss that is expected of a row, at most, by cell of the answer's column.

    `upper` are 99 % bounds of the mean loss, `missing` last; losses are divided by `scale` and cut at 1.
    """

    scale: float = Field(gt=0)
    upper: tuple[float, ...]


class Estimation(_Frozen):
    """What quality without labels is made from: bins of the answer, and what they have meant.

    `calibration` is that of `stats.estimation.Calibration` and `losses` has by metric that of
    `stats.expected_loss.ExpectedLoss`, each as its `to_json` gives it.
    """

    column: NumericColumn
    classes: int
    calibration: Mapping[str, Any] | None = None
    losses: Mapping[str, Mapping[str, Any]] = Field(default_factory=dict)

    @cached_property
    def rates(self) -> Calibration | None:
        """P(positive) by bin."""
        return None if self.calibration is None else Calibration.from_json(dict(self.calibration))

    @cached_property
    def expected(self) -> Mapping[str, ExpectedLoss]:
        """Losses by metric."""
        return {metric: ExpectedLoss.from_json(dict(data)) for metric, data in self.losses.items()}


class JointNoise(_Frozen):
    """What a method shows on columns together without drift: by chance, and in the reference's own chunks.

    `scaled` are the squared 1e-4 quantiles times the rows they are made from, by these numbers of rows.
    """

    sizes: tuple[int, ...]
    scaled: tuple[float, ...]
    chunks: Mapping[str, float]

    @cached_property
    def table(self) -> SampleFloor:
        """The sampling noise as a function of the numbers of rows."""
        return SampleFloor(self.sizes, self.scaled)


class Joint(_Frozen):
    """How the reference's columns go together.

    Each of `columns` is coded by the normal scores of its bins and each of `indicators` by whether its
    value is missing; `means` and `deviations` are those of the codes, `correlations` the lower triangle
    without its diagonal. `components` are the first principal components of the correlations, as
    many as explain 65 % of the variance. All of it is made from `rows` of the reference's rows.
    """

    rows: int
    columns: tuple[str, ...]
    indicators: tuple[str, ...]
    means: tuple[float, ...]
    deviations: tuple[float, ...]
    correlations: tuple[tuple[float, ...], ...]
    components: tuple[tuple[float, ...], ...]
    noise: Mapping[str, JointNoise]

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        size = len(self.columns) + len(self.indicators)
        lengths = {size, len(self.means), len(self.deviations), len(self.correlations)}
        lengths |= {len(component) for component in self.components}
        rows = [len(row) for row in self.correlations]
        if len(lengths) > 1 or rows != list(range(size)) or not self.noise.keys() >= set(METHODS):
            raise ValueError("its parts do not fit together")
        if not all(deviation > 0 for deviation in self.deviations):
            raise ValueError("deviations must be above 0")
        return self


class Profile(_Frozen):
    """The file's content. `trained_at` is when the training data of a version end, RFC 3339."""

    format: Literal[1]
    model: str
    task: Literal["binary", "multiclass", "regression"]
    rows: int
    labelled: int
    first: str
    last: str
    windows: Mapping[str, Chunks]
    columns: Mapping[str, Column]
    ignored: Mapping[str, str]
    quality: Mapping[str, Reference]
    trained_at: Mapping[str, str] = Field(default_factory=dict)
    hourly: Mapping[str, tuple[float, ...]] = Field(default_factory=dict)
    expected_loss: ExpectedLossByBin | None = None
    estimation: Estimation | None = None
    joint: Joint | None = None

    def to_json(self) -> str:
        """The file's text; the same rows give the same bytes."""
        return _dump(self.model_dump(mode="json", exclude=self._left_out())) + "\n"

    def _left_out(self) -> dict[str, Any]:
        """What few profiles have and is not written where it is not there."""
        columns = {
            name: {"embedding"}
            for name, column in self.columns.items()
            if isinstance(column, NumericColumn) and column.embedding is None
        }
        found: dict[str, Any] = {"columns": columns, "estimation": {"column": {"embedding"}}}
        return found | ({"joint": True} if self.joint is None else {})

    @cached_property
    def digest(self) -> str:
        """A short hash of the content, for telling profiles apart."""
        return hashlib.sha256(self.to_json().encode()).hexdigest()[:12]


def _nearest(edges: tuple[float, ...], value: float) -> int:
    """Index of the edge that is a value but for rounding."""
    return min(range(len(edges)), key=lambda index: abs(edges[index] - value))


def _dump(value: object, indent: str = "") -> str:
    """JSON with one line for each list of numbers or strings, so that people can read and diff it."""
    if isinstance(value, dict) and value:
        inner = indent + "  "
        items = (f"{inner}{json.dumps(key)}: {_dump(item, inner)}" for key, item in value.items())
        return "{\n" + ",\n".join(items) + "\n" + indent + "}"
    return json.dumps(value, ensure_ascii=False)


def json_schema() -> dict[str, Any]:
    """The JSON Schema of the file."""
    schema = Profile.model_json_schema()
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **schema,
        "title": f"Reference profile of ml_exporter, format {FORMAT}",
    }


def load(path: Path) -> Profile:
    """Read a profile; raises ProfileError with file, key and remedy."""
    try:
        text = path.read_bytes()
        _check_format(path, text)
        return Profile.model_validate_json(text)
    except OSError as error:
        raise ProfileError(
            f"{path}: cannot be read: {error.strerror}; make it with `ml_exporter profile`"
        ) from None
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(map(str, first["loc"])) or "(file)"
        raise ProfileError(
            f"{path}: {key}: {first['msg']}; make it again with `ml_exporter profile`"
        ) from None


def _check_format(path: Path, text: bytes) -> None:
    """Refuse another format than ours before its keys are: their names may mean nothing here."""
    try:
        found = json.loads(text)
    except ValueError:
        return
    known = found.get("format") if isinstance(found, dict) else None
    if isinstance(known, int) and known < FORMAT:
        raise ProfileError(
            f"{path}: is of format {known}, older than format {FORMAT}, which this release reads; "
            "make it again with `ml_exporter profile`"
        )
    if isinstance(known, int) and known > FORMAT:
        raise ProfileError(
            f"{path}: is of format {known}, newer than format {FORMAT}, which this release reads; "
            "use the release that made it, or make it again with `ml_exporter profile`"
        )


def save(profile: Profile, path: Path) -> None:
    """Write a profile so that a reader sees the old file or the new one, never half of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(path.name + ".tmp")
    temporary.write_text(profile.to_json(), encoding="utf-8")
    temporary.replace(path)
