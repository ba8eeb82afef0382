"""Columns together: a relation that turns round while every column stays as it was, and what is no drift."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from tests.support.site import FIELDS, START, Record, Site, model, prediction

from ml_exporter import joint
from ml_exporter.counting import count_inputs
from ml_exporter.evaluation import ModelReport, WindowReport
from ml_exporter.groups import Groups
from ml_exporter.joint import ROWS, STEP, Sample, absence_of, codes_of
from ml_exporter.layout import Layout
from ml_exporter.metrics import drift as collector
from ml_exporter.metrics.families import Families
from ml_exporter.metrics.health import unavailable
from ml_exporter.profile import Profile, ProfileError, load, save
from ml_exporter.profile_build import build
from ml_exporter.profile_data import Rows
from ml_exporter.profile_joint import COLUMNS, Gathered, association
from ml_exporter.profile_print import print_profile
from ml_exporter.sources.batch import Numbers, Predictions
from ml_exporter.stats import distance
from ml_exporter.stats.multivariate import METHODS
from ml_exporter.stats.result import Unavailable, Value
from ml_exporter.tally import Tally

NAME = "flight-delay"
UNIVARIATE = tuple(distance.METHODS)
LIMITS = {"pca": {"max": 0.2}, "correlation_max": {"max": 0.3}}
ROWS_OF_PROFILE = 12_000
SECONDS = 600


def records(rng: np.random.Generator, first: int, rows: int, sign: float = 1.0) -> Iterator[Record]:
    """Ten rows a second in which `y` follows `x`, and so does the colour; `sign` turns the relation round.

    Whatever the sign is, each column alone has the same distribution.
    """
    for number in range(first, first + rows):
        x, other = rng.normal(size=2)
        features = {
            "x": round(float(x), 4),
            "y": round(float(sign * 0.8 * x + 0.6 * other), 4),
            "colour": "ba"[int(sign * x + rng.normal() > 0)],
            "flat": round(float(rng.random()), 4),
            "gappy": None if rng.random() < 0.2 else round(float(rng.normal()), 4),
            "same": 1,
        }
        yield {**prediction(number, number / 10, 0.3 + 0.1 * rng.random()), "features": features}


def watched(**more: Any) -> dict[str, Any]:
    """A model without labels whose columns are watched together."""
    made = model(**{"multivariate": LIMITS, "drift": {"psi": {"max": 0.2}, "methods": UNIVARIATE}, **more})
    del made["labels"]
    made["predictions"]["fields"] = dict(FIELDS)
    return made


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the profile of rows in which the columns follow each other."""
    site = Site(tmp_path_factory.mktemp("joint"), [watched(windows=["1m"], alert_window="1m")])
    site.predict(*records(np.random.default_rng(1), 0, ROWS_OF_PROFILE))
    (own,) = site.config().models
    log = site.folder / f"{NAME}-predictions.jsonl"
    save(build(own, Rows(own, [log], None, None)), site.folder / "profile.json")
    return site.folder


@pytest.fixture
def site(folder: Path, tmp_path: Path) -> Site:
    (tmp_path / "profile.json").write_bytes((folder / "profile.json").read_bytes())
    return Site(tmp_path, [watched(profile="profile.json", windows=["1m"], alert_window="1m")])


def profile_of(folder: Path) -> Profile:
    return load(folder / "profile.json")


def advanced(site: Site, now: float) -> ModelReport:
    """What is reported once all is read at `now`."""
    site.now = now
    engine = site.engine()
    while (snapshot := engine.cycle()).behind:
        pass
    engine.store.close()
    ((report, _),) = snapshot.reports
    return report


def alert(report: ModelReport) -> WindowReport:
    return report.versions[0].windows[-1]


def results(window: WindowReport) -> dict[str, Value | Unavailable]:
    return {drift.method: drift.result for drift in window.joint}


def test_a_relation_that_turns_round_is_found_where_every_column_alone_is_silent(site: Site) -> None:
    site.predict(*records(np.random.default_rng(2), 0, SECONDS, sign=-1.0))
    window = alert(advanced(site, 60))
    assert [drift.method for drift in window.joint] == list(METHODS)
    for together in window.joint:
        assert isinstance(together.result, Value)
        assert together.noise is not None
        assert together.result.value > 2 * together.noise
    alone = [drift for drift in window.drift if isinstance(drift.result, Value)]
    assert {drift.method for drift in alone} == set(UNIVARIATE)
    for drift in alone:
        assert isinstance(drift.result, Value)
        assert drift.noise is not None
        if drift.column in ("same", "prediction"):  # always one value: what half a row does, to the last bit
            assert drift.result.value == drift.noise
        else:
            assert drift.result.value < drift.noise


def test_rows_like_those_of_the_profile_are_within_the_noise(site: Site) -> None:
    site.predict(*records(np.random.default_rng(3), 0, SECONDS))
    for drift in alert(advanced(site, 60)).joint:
        assert isinstance(drift.result, Value)
        assert drift.noise is not None
        assert drift.result.value < drift.noise
        assert not drift.short_reference


def test_values_are_those_of_the_coded_rows(site: Site) -> None:
    rows = list(records(np.random.default_rng(5), 11, 540, sign=0.3))
    site.predict(*rows)
    found = results(alert(advanced(site, 60)))
    profile = profile_of(site.folder)
    coded = np.stack([coded_by_hand(profile, row["features"]) for row in rows])
    known = profile.joint
    assert known is not None
    gaps = np.corrcoef(coded.T) - triangle(known.correlations)
    off = np.abs(gaps[np.triu_indices(len(gaps), 1)])
    for method, expected in (("correlation_max", off.max()), ("correlation_mean", off.mean())):
        result = found[method]
        assert isinstance(result, Value)
        assert result.value == pytest.approx(expected, rel=1e-4)
        assert result.n == 540
    scaled = (coded / STEP - known.means) / known.deviations
    components = np.asarray(known.components)
    rest = scaled - scaled @ components.T @ components
    usual = np.trace(triangle(known.correlations)) - np.trace(
        components @ triangle(known.correlations) @ components.T
    )
    pca = found["pca"]
    assert isinstance(pca, Value)
    assert pca.value == pytest.approx(abs(np.square(rest).sum(axis=1).mean() / usual - 1), rel=1e-3)


def triangle(lower: Any) -> NDArray[np.float64]:
    full = np.eye(len(lower))
    for row, own in enumerate(lower):
        full[row, :row] = full[:row, row] = own
    return full


def coded_by_hand(profile: Profile, features: Mapping[str, Any]) -> NDArray[np.float64]:
    """One row's codes, value by value."""
    known = profile.joint
    assert known is not None
    codes = []
    for name in known.columns:
        column, value = profile.columns[name], features[name]
        if value is None:
            codes.append(0.0)
        elif column.kind == "categorical":
            codes.append(codes_of(column)[column.categories.index(value)])
        else:
            scaled = float(np.float32((value - column.center) / column.scale))
            codes.append(codes_of(column)[sum(edge <= scaled for edge in column.edges)])
    return np.asarray([*codes, *(STEP * (features[name] is None) for name in known.indicators)])


def test_the_profile_says_which_columns_it_has_together(folder: Path) -> None:
    known = profile_of(folder).joint
    assert known is not None
    assert known.columns == ("x", "y", "colour", "flat", "gappy")
    assert known.indicators == ("gappy",)
    assert known.rows == ROWS_OF_PROFILE
    assert known.correlations[1][0] == pytest.approx(0.8, abs=0.02)
    assert 1 <= len(known.components) < 6
    assert set(known.noise) == set(METHODS)
    assert all(set(noise.chunks) == {"1m"} for noise in known.noise.values())


def test_the_table_of_a_profile_says_what_is_watched_together(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = profile_of(folder)
    print_profile(found, folder / "profile.json", {})
    assert known_text(found) in " ".join(capsys.readouterr().out.split())


def known_text(found: Profile) -> str:
    assert found.joint is not None
    components = len(found.joint.components)
    return (
        "watched together: 5 columns, and of 1 whether a value is missing; "
        f"{components} components explain 65% of the variance"
    )


def test_without_the_key_nothing_is_made_or_counted(site: Site) -> None:
    site.models = [watched(profile="profile.json", multivariate={})]
    site.predict(*records(np.random.default_rng(3), 0, 100))
    assert alert(advanced(site, 60)).joint == ()
    (own,) = site.config().models
    assert own.joint_window is None


class TestReasons:
    def test_too_few_rows(self, site: Site) -> None:
        site.predict(*records(np.random.default_rng(3), 0, 40))
        report = advanced(site, 60)
        assert set(results(alert(report)).values()) == {Unavailable("too_few_rows")}
        assert ("1", "1m", "multivariate:pca", "too_few_rows") in set(unavailable(report))

    def test_a_profile_that_does_not_know(self, site: Site) -> None:
        save(
            profile_of(site.folder).model_copy(update={"joint": None}),
            site.folder / "profile.json",
        )
        site.predict(*records(np.random.default_rng(3), 0, 100))
        report = advanced(site, 60)
        assert ("1", "1m", "multivariate:correlation_mean", "no_profile") in set(unavailable(report))

    def test_too_few_chunks(self, site: Site) -> None:
        site.models = [watched(profile="profile.json", windows=["2m"], alert_window="2m")]
        site.predict(*records(np.random.default_rng(3), 0, SECONDS))
        report = advanced(site, 60)
        assert ("1", "2m", "multivariate:noise", "short_reference") in set(unavailable(report))
        for drift in alert(report).joint:
            assert isinstance(drift.result, Value)
            assert drift.noise is not None


def test_the_page_has_value_noise_and_limit(site: Site) -> None:
    site.predict(*records(np.random.default_rng(2), 0, SECONDS, sign=-1.0))
    families = Families()
    collector.collect(families, advanced(site, 60), 0.0)
    found = {
        (sample.name, sample.labels["method"]): sample
        for family in families.collect()
        for sample in family.samples
        if sample.name.startswith("ml_multivariate")
    }
    assert {method for _, method in found} == set(METHODS)
    limits = {
        method: sample.value for (name, method), sample in found.items() if name.endswith("drift_limit")
    }
    assert limits == {"pca": 0.2, "correlation_max": 0.3}
    for method in METHODS:
        assert (
            found["ml_multivariate_drift", method].value > found["ml_multivariate_drift_noise", method].value
        )
    labels = found["ml_multivariate_drift", "pca"].labels
    assert labels == {
        "model": NAME,
        "version": "1",
        "method": "pca",
        "window": "1m",
        "reference": "training",
    }


class TestState:
    def test_counts_are_there_again_after_a_restart(self, site: Site) -> None:
        site.predict(*records(np.random.default_rng(2), 0, 300, sign=-1.0))
        before = results(alert(advanced(site, 60)))
        assert results(alert(advanced(site, 60))) == before

    def test_parts_give_to_the_last_bit_what_the_whole_gives(self, site: Site) -> None:
        rows = list(records(np.random.default_rng(2), 0, 500, sign=-1.0))
        for part in (rows[:7], rows[7:300], rows[300:]):
            site.predict(*part)
            found = results(alert(advanced(site, 60)))
        (site.folder / "state.duckdb").unlink()
        assert results(alert(advanced(site, 60))) == found

    def test_another_alert_window_begins_anew(self, site: Site) -> None:
        site.models = [watched(profile="profile.json", windows=["1m", "2m"], alert_window="1m")]
        site.predict(*records(np.random.default_rng(2), 0, 500))
        assert isinstance(results(alert_of(advanced(site, 60), "1m"))["pca"], Value)
        site.models = [watched(profile="profile.json", windows=["1m", "2m"], alert_window="2m")]
        found = results(alert_of(advanced(site, 60), "2m"))
        assert found["pca"] == Unavailable("too_few_rows")

    def test_once_turned_off_they_begin_anew(self, site: Site) -> None:
        site.predict(*records(np.random.default_rng(2), 0, 500))
        assert isinstance(results(alert(advanced(site, 60)))["pca"], Value)
        on = site.models
        site.models = [watched(profile="profile.json", windows=["1m"], alert_window="1m", multivariate={})]
        assert alert(advanced(site, 60)).joint == ()
        site.models = on
        assert results(alert(advanced(site, 60)))["pca"] == Unavailable("too_few_rows")


def alert_of(report: ModelReport, name: str) -> WindowReport:
    return next(window for window in report.versions[0].windows if window.window.name == name)


def batch(
    n: int, rng: np.random.Generator, ids: bool = True
) -> tuple[Predictions, dict[str, NDArray[np.int64]]]:
    """Rows of one second and two versions, and cells of the columns that are coded."""
    rows = Predictions(
        rng.integers(0, 2**64, n, np.uint64) if ids else np.zeros(n, np.uint64),
        np.full(n, int(START * 1e6) + 1_000_000),
        np.sort(rng.integers(0, 2, n)),
        ("1", "2"),
        rng.random(n),
        np.zeros(n, np.int16),
        None,
        np.full(n, np.nan),
        np.zeros(n, np.bool_),
        {},
        {},
        {},
    )
    return rows, {name: rng.integers(0, 8, n) for name in ("x", "y", "flat")}


def sampled(folder: Path, rows: Predictions, cells: Mapping[str, NDArray[np.int64]]) -> dict[int, Tally]:
    coding = Layout(profile_of(folder)).coding
    assert coding is not None
    panes = Groups(rows.times, [1_000_000], int(rows.times[0])).panes(0)
    sample = Sample(coding, rows, panes, rows.versions, 2)
    for name, codes in cells.items():
        sample.take(name, codes)
    return {version: tally for version, _, tally in sample.tallies()}


@pytest.mark.parametrize("ids", [True, False])
def test_of_many_rows_about_a_thousand_stand_for_all_of_them(folder: Path, ids: bool) -> None:
    rows, cells = batch(20_000, np.random.default_rng(8), ids)
    coding = Layout(profile_of(folder)).coding
    assert coding is not None
    place, table = next((place, table) for place, table in coding.tables["x"])
    for version, tally in sampled(folder, rows, cells).items():
        n = int(np.count_nonzero(rows.versions == version))
        weight, squares = tally.count("weight"), tally.count("squares")
        chosen = weight**2 / squares
        assert ROWS / 2 - 100 <= chosen <= ROWS + 100
        assert weight == pytest.approx(n, rel=4 / np.sqrt(chosen))
        whole = table[cells["x"][rows.versions == version]]
        mean = tally["sums"][place] / weight
        assert mean == pytest.approx(whole.mean(), abs=4 * whole.std() / np.sqrt(chosen))


def test_the_choice_of_rows_does_not_bias() -> None:
    """Over many logs the chosen rows stand for all rows of theirs: neither too few nor of another kind."""
    rng = np.random.default_rng(9)
    shares = []
    for _ in range(300):
        rows, _ = batch(3_000, rng)
        panes = Groups(rows.times, [1_000_000], int(rows.times[0])).panes(0)
        sample = Sample(coding_of_nothing(), rows, panes, rows.versions, 2)
        weights = {version: tally.count("weight") for version, _, tally in sample.tallies()}
        shares.append([weights[code] / np.count_nonzero(rows.versions == code) for code in (0, 1)])
    error = np.std(shares) / np.sqrt(np.size(shares))
    assert np.mean(shares) == pytest.approx(1.0, abs=4 * error)
    assert error < 0.003


def coding_of_nothing() -> joint.Coding:
    empty = Profile.model_construct(columns={})
    none = joint.Joint.model_construct(columns=(), indicators=())
    return joint.Coding(empty, none)


def test_few_rows_are_all_chosen(folder: Path) -> None:
    rows, cells = batch(1_500, np.random.default_rng(8))
    for version, tally in sampled(folder, rows, cells).items():
        n = int(np.count_nonzero(rows.versions == version))
        assert tally.count("weight") == tally.count("squares") == n


def test_missing_and_invalid_values_are_0_and_told(folder: Path) -> None:
    column = profile_of(folder).columns["gappy"]
    assert codes_of(column)[-2:].tolist() == [0.0, 0.0]
    assert absence_of(column).tolist() == [0.0] * column.size + [STEP, STEP]
    assert (np.diff(codes_of(column)[:-2]) >= 0).all()


class TestWhichColumns:
    def test_of_more_than_64_those_that_tell_most_of_the_loss_stay(self, folder: Path) -> None:
        column = profile_of(folder).columns["x"]
        codes = np.arange(1_000) % column.size
        gathered = Gathered(np.arange(1_000))
        for index in range(80):
            losses = tuple(0.01 * index * cell for cell in range(column.size + 1))
            own = column.model_copy(update={"losses": losses})
            assert association(own) >= 0.0
            gathered.add(f"c{index}", own, codes)
        assert list(gathered.columns) == [f"c{index}" for index in range(80 - COLUMNS, 80)]

    def test_without_losses_the_first_stay(self, folder: Path) -> None:
        column = profile_of(folder).columns["x"]
        gathered = Gathered(np.arange(1_000))
        for index in range(70):
            gathered.add(f"c{index}", column, np.arange(1_000) % column.size)
        assert list(gathered.columns) == [f"c{index}" for index in range(COLUMNS)]

    def test_what_never_varies_is_left_out(self, folder: Path) -> None:
        column = profile_of(folder).columns["x"]
        gathered = Gathered(np.arange(1_000))
        gathered.add("still", column, np.full(1_000, 3))
        assert not gathered.columns

    def test_rows_are_evenly_apart(self) -> None:
        gathered = Gathered(np.arange(1_000_001))
        assert gathered.rows.size <= 100_000
        assert set(np.diff(gathered.rows)) == {11}


def test_counting_together_changes_no_other_count(folder: Path) -> None:
    found = Layout(profile_of(folder))
    rng = np.random.default_rng(4)
    rows, _ = batch(5_000, rng)
    rows = dataclasses.replace(rows, numbers={"x": Numbers(rng.normal(size=5_000), None, None)})
    with_them, without = (
        count_inputs(rows, found, [1_000_000], int(rows.times[0]), None, None, index)[0]
        for index in (0, None)
    )
    for version, counts in without.items():
        assert not counts.joint
        assert list(with_them[version].joint) == [(0, int((rows.times[0] - 1) // 1_000_000))]
        for name, array in counts.total.arrays.items():
            np.testing.assert_array_equal(array, with_them[version].total[name])


def test_a_profile_that_has_lost_a_column_watches_none_together(folder: Path) -> None:
    found = profile_of(folder)
    columns = {name: column for name, column in found.columns.items() if name != "y"}
    assert Layout(found.model_copy(update={"columns": columns})).coding is None


@pytest.mark.parametrize(
    "part", [{"means": [0.0]}, {"deviations": [0.0] * 6}, {"correlations": [[]] * 6}, {"noise": {}}]
)
def test_a_damaged_profile_is_named(folder: Path, tmp_path: Path, part: dict[str, Any]) -> None:
    content = json.loads((folder / "profile.json").read_text())
    content["joint"] |= part
    (tmp_path / "damaged.json").write_text(json.dumps(content))
    with pytest.raises(ProfileError, match=r"damaged\.json: joint: .*make it again"):
        load(tmp_path / "damaged.json")
