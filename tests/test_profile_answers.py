"""What a profile says of answers: made from logs of every task, of every format, with anything missing."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pytest
from scipy import stats
from sklearn import metrics as reference
from tests.support.made import CLASSES, Rides, fields, profiled, site_of, write
from tests.support.site import Site

from ml_exporter.profile import CategoricalColumn, NumericColumn, Profile, load
from ml_exporter.profile_build import build
from ml_exporter.profile_data import Rows
from ml_exporter.stats.folds import MINIMUM_REFERENCE

N = 600


def numbers(n: int, seed: int = 1) -> tuple[dict[str, list[Any]], list[Any]]:
    draw = np.random.default_rng(seed)
    predicted = draw.normal(10, 3, n).round(2)
    ends = {"low": (predicted - 2).tolist(), "high": (predicted + 1).tolist()}
    return {"prediction": predicted.tolist(), **ends}, (predicted + draw.normal(0.5, 1, n)).round(2).tolist()


def regression(folder: Path, n: int = N, **changes: Sequence[Any]) -> Site:
    site = site_of(folder, "regression", interval={"lower": "low", "upper": "high"})
    columns, labels = numbers(n)
    own = {**columns, **{key: list(value) for key, value in changes.items() if key != "labels"}}
    write(site, own, changes.get("labels", labels), apart=60)
    return site


def multiclass(folder: Path, score: object = "s", n: int = N, **more: object) -> tuple[Site, Rides]:
    site, rides = site_of(folder, "multiclass", fields(score=score), **more), Rides(n)
    write(site, rides.columns(), rides.labels(), apart=60)
    return site, rides


class TestRoundTrip:
    def check(self, site: Site) -> Profile:
        """The same rows give the same bytes, which read back as what they were."""
        made = profiled(site)
        path = site.folder / "profile.json"
        first = path.read_bytes()
        assert load(path) == made
        site.models[0].pop("profile")
        assert profiled(site) == made
        assert path.read_bytes() == first
        return made

    def test_numbers(self, tmp_path: Path) -> None:
        made = self.check(regression(tmp_path))
        columns, labels = numbers(N)
        errors = np.abs(np.asarray(columns["prediction"]) - np.asarray(labels))
        assert made.quality["mean_absolute_error"].value == pytest.approx(errors.mean(), rel=1e-8)
        assert made.quality["interval_coverage"].n == N
        assert made.estimation is not None
        assert set(made.estimation.losses) == {"mean_absolute_error", "mean_squared_error"}
        assert made.estimation.calibration is None
        assert set(made.hourly) == {"mean_absolute_error"}
        for name in ("prediction", "label"):
            column = made.columns[name]
            assert isinstance(column, NumericColumn)
            assert sum(column.counts) == N

    def test_classes(self, tmp_path: Path) -> None:
        site, rides = multiclass(tmp_path)
        made = self.check(site)
        label = made.columns["label"]
        assert isinstance(label, CategoricalColumn)
        # The most frequent class comes first.
        assert label.categories == CLASSES
        assert label.counts[:3] == tuple(np.bincount(rides.truth).tolist())
        assert made.quality["accuracy"].value == pytest.approx(np.mean(rides.truth == rides.chosen))
        expected = reference.log_loss(rides.truth, rides.scores)
        assert made.quality["log_loss"].value == pytest.approx(expected, rel=1e-8)
        auc = reference.roc_auc_score(rides.truth, rides.scores, multi_class="ovr")
        assert made.quality["roc_auc"].value == pytest.approx(auc, abs=5e-3)
        assert made.estimation is not None
        assert set(made.estimation.losses) == {"accuracy", "log_loss"}
        score = made.columns["score"]
        assert isinstance(score, NumericColumn)
        assert (score.minimum, score.maximum) == (0.0, 1.0)


class TestFewOrNone:
    @pytest.mark.parametrize("labelled", [0, 1, MINIMUM_REFERENCE - 1])
    def test_too_few_labels_to_learn_from(self, tmp_path: Path, labelled: int) -> None:
        site = regression(tmp_path, labels=[*numbers(N)[1][:labelled], *([None] * (N - labelled))])
        made = profiled(site)
        assert made.labelled == labelled
        assert made.estimation is None
        assert (made.expected_loss is None) == (labelled == 0)
        assert ("label" in made.columns) == (labelled > 0)
        assert bool(made.quality) == (labelled > 10)

    def test_as_few_as_are_enough(self, tmp_path: Path) -> None:
        labels = [*numbers(N)[1][:MINIMUM_REFERENCE], *([None] * (N - MINIMUM_REFERENCE))]
        assert profiled(regression(tmp_path, labels=labels)).estimation is not None

    def test_predictions_that_are_missing_or_none(self, tmp_path: Path) -> None:
        predictions: list[Any] = [*numbers(N)[0]["prediction"]]
        predictions[:20], predictions[20:25] = [None] * 20, ["soon"] * 5
        made = profiled(regression(tmp_path, prediction=predictions))
        column = made.columns["prediction"]
        assert sum(column.counts) == N - 25
        assert made.labelled == N
        assert made.quality["mean_absolute_error"].n == N - 25
        assert made.estimation is not None

    def test_without_any_prediction(self, tmp_path: Path) -> None:
        made = profiled(regression(tmp_path, prediction=[None] * N))
        assert made.ignored["prediction"] == "has no number"
        assert made.expected_loss is None
        assert made.estimation is None
        assert made.quality == {}

    def test_a_label_that_never_changes(self, tmp_path: Path) -> None:
        made = profiled(regression(tmp_path, labels=[3.0] * N))
        assert "r2_score" not in made.quality
        assert made.quality["mean_absolute_error"].n == N

    def test_a_class_that_is_the_only_one(self, tmp_path: Path) -> None:
        site = site_of(tmp_path, "binary")
        draw = np.random.default_rng(1)
        scores = draw.uniform(size=N).round(3)
        write(site, {"score": scores.tolist(), "prediction": (scores > 0.5).tolist()}, [False] * N, apart=60)
        made = profiled(site)
        assert "roc_auc" not in made.quality
        assert made.quality["accuracy"].value == pytest.approx(np.mean(scores <= 0.5))
        assert made.estimation is not None

    def test_labels_that_are_no_numbers_are_none(self, tmp_path: Path) -> None:
        labels: list[Any] = [*numbers(N)[1]]
        labels[:4] = ["late", "nan", "inf", "1e999"]
        assert profiled(regression(tmp_path, labels=labels)).labelled == N - 4


class TestClasses:
    def test_those_beyond_the_limit_are_one(self, tmp_path: Path) -> None:
        site = site_of(tmp_path, "multiclass", class_limit=2)
        names = ["a", "b", "a", "c", "a", "b"] * 100
        write(site, {"prediction": names}, names, apart=60)
        made = profiled(site)
        label = made.columns["label"]
        assert isinstance(label, CategoricalColumn)
        assert (label.categories, label.counts) == (("a", "b"), (300, 200, 100, 0))
        assert made.quality["accuracy"].value == 1.0

    def test_records_without_probabilities_have_no_score(self, tmp_path: Path) -> None:
        site, rides = multiclass(tmp_path, score=...)
        made = profiled(site)
        assert "score" not in made.columns
        assert "log_loss" not in made.quality
        assert made.quality["accuracy"].value == pytest.approx(np.mean(rides.truth == rides.chosen))
        assert made.expected_loss is None

    def test_probabilities_of_some_records_only(self, tmp_path: Path) -> None:
        """As the exporter reads them: without any it is missing, without one it is no score."""
        site, rides = site_of(tmp_path, "multiclass", fields(score="s")), Rides(N)
        columns = rides.columns()
        columns["s"][:30] = [None] * 30
        columns["s"][30:50] = [{"bike": 0.5}] * 20
        write(site, columns, rides.labels(), apart=60)
        made = profiled(site)
        score = made.columns["score"]
        assert (score.missing, sum(score.counts)) == (30, N - 50)
        assert made.quality["log_loss"].n == N - 50

    def test_a_mapping_names_them(self, tmp_path: Path) -> None:
        site, rides = multiclass(tmp_path, score={name: f"s.{name}" for name in reversed(CLASSES)})
        made = profiled(site)
        label = made.columns["label"]
        assert isinstance(label, CategoricalColumn)
        assert label.categories == tuple(reversed(CLASSES))
        expected = reference.log_loss(rides.truth, rides.scores)
        assert made.quality["log_loss"].value == pytest.approx(expected, rel=1e-8)

    def test_the_class_is_that_of_the_largest_probability_where_none_is_given(self, tmp_path: Path) -> None:
        site, rides = multiclass(tmp_path)
        site.models[0]["predictions"]["fields"].pop("prediction")
        assert profiled(site).quality["accuracy"].value == pytest.approx(np.mean(rides.truth == rides.chosen))

    @pytest.mark.parametrize(
        "names", [("other", "missing", "car"), ("a.b", 'say "x"', "it's"), ("1", "2", "3")]
    )
    def test_of_any_name(self, tmp_path: Path, names: tuple[str, ...]) -> None:
        site, rides = site_of(tmp_path, "multiclass", fields(score="s")), Rides(N, 1, names)
        write(site, rides.columns(), rides.labels(), apart=60)
        made = profiled(site)
        label = made.columns["label"]
        assert isinstance(label, CategoricalColumn)
        assert set(label.categories) == {*names} - {"missing"}
        assert made.labelled == N
        assert made.quality["accuracy"].n == N


class TestExpectedLoss:
    def test_a_share_of_wrong_rows_has_the_bound_of_clopper_and_pearson(self, tmp_path: Path) -> None:
        site, rides = multiclass(tmp_path)
        made = profiled(site)
        assert made.expected_loss is not None
        score = made.columns["score"]
        assert isinstance(score, NumericColumn)
        top, wrong = rides.scores.max(axis=1), rides.truth != rides.chosen
        edges = np.asarray(score.edges) * score.scale + score.center
        codes = np.searchsorted(edges, top, side="right")
        for code in np.unique(codes).tolist():
            n, k = int(np.sum(codes == code)), int(np.sum(wrong[codes == code]))
            if n == score.counts[code]:
                bound = stats.beta.ppf(0.99, k + 1, n - k) if k < n else 1.0
                assert made.expected_loss.upper[code] == pytest.approx(bound, rel=1e-6)
        assert made.expected_loss.scale == 1.0

    def test_a_mean_of_errors_has_the_bound_of_student(self, tmp_path: Path) -> None:
        site = regression(tmp_path)
        made = profiled(site)
        assert made.expected_loss is not None
        columns, labels = numbers(N)
        predicted = np.asarray(columns["prediction"])
        errors = np.abs(predicted - np.asarray(labels))
        assert made.expected_loss.scale == pytest.approx(np.quantile(errors, 0.99), rel=1e-8)
        column = made.columns["prediction"]
        assert isinstance(column, NumericColumn)
        edges = np.asarray(column.edges) * column.scale + column.center
        codes, losses = (
            np.searchsorted(edges, predicted, side="right"),
            np.minimum(errors / made.expected_loss.scale, 1),
        )
        told = 0
        for code in np.unique(codes).tolist():
            own = losses[codes == code]
            if own.size == column.counts[code] > 1:
                bound = min(
                    own.mean() + stats.t.ppf(0.99, own.size - 1) * own.std(ddof=1) / own.size**0.5, 1.0
                )
                assert made.expected_loss.upper[code] == pytest.approx(bound, rel=1e-6)
                told += 1
        assert told > 5


def flat(site: Site, form: str) -> list[Path]:
    """Both logs once more, as CSV or Parquet; objects become columns with dotted names, or stay."""
    paths = []
    for log in ("predictions", "labels"):
        source, target = site.folder / f"m-{log}.jsonl", site.folder / f"m-{log}.{form}"
        select = "*"
        if form == "csv" and log == "predictions":
            scores = ", ".join(f's.{name} AS "s.{name}"' for name in CLASSES)
            select = f'* EXCLUDE (s, features), {scores}, features.k AS "features.k"'
        duckdb.execute(f"COPY (SELECT {select} FROM read_json('{source}')) TO '{target}' (FORMAT {form})")
        paths.append(target)
    return paths


@pytest.mark.parametrize("form", ["csv", "parquet"])
@pytest.mark.parametrize("mapped", [True, False], ids=["mapping", "object"])
def test_every_format_gives_the_same_profile(tmp_path: Path, form: str, mapped: bool) -> None:
    """Label logs too are read in their own format."""
    site, _ = multiclass(tmp_path, score={name: f"s.{name}" for name in CLASSES} if mapped else "s")
    made = profiled(site)
    predictions, labels = flat(site, form)
    own = site.models[0]
    own.pop("profile")
    own["predictions"] |= {"path": predictions.name, "format": form}
    own["labels"] |= {"path": labels.name, "format": form}
    if form == "csv":
        own["predictions"]["fields"]["features"] = ["features.k"]
    model = site.config().models[0]
    again = build(model, Rows(model, [predictions], None, None))
    assert json.loads(again.to_json()) == json.loads(made.to_json())


def test_the_first_label_of_an_id_counts(tmp_path: Path) -> None:
    site = regression(tmp_path)
    first = profiled(site)
    site.models[0].pop("profile")
    log = site.folder / "m-labels.jsonl"
    lines: list[Mapping[str, Any]] = [json.loads(line) for line in log.read_text().splitlines()]
    later = [{**line, "ts": line["ts"].replace("2023", "2024"), "label": 99.0} for line in lines]
    log.write_text("".join(json.dumps(line) + "\n" for line in (*later, *lines)))
    assert profiled(site) == first


@pytest.mark.parametrize("features", [..., None, {}])
def test_a_log_without_features_has_a_profile_of_its_answers(tmp_path: Path, features: object) -> None:
    site = site_of(tmp_path, "regression")
    columns, labels = numbers(N)
    site.predict(
        *(
            {
                key: value
                for key, value in {
                    "id": f"id-{row}",
                    "ts": 1_700_000_000 + row,
                    "prediction": value,
                    "features": features,
                }.items()
                if value is not ...
            }
            for row, value in enumerate(columns["prediction"])
        ),
        name="m",
    )
    site.label(
        *({"id": f"id-{row}", "ts": 1_700_000_001 + row, "label": value} for row, value in enumerate(labels)),
        name="m",
    )
    site.models[0]["predictions"]["fields"].pop("features")
    assert set(profiled(site).columns) == {"prediction", "label"}
