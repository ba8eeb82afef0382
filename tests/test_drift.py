"""Columns against their references: methods, limits, impact, the previous window."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from prometheus_client.parser import text_string_to_metric_families
from scipy import stats
from tests.support.site import FIELDS, START, Record, Site, model, prediction

from ml_exporter.cli import main
from ml_exporter.columns import Columns
from ml_exporter.config import Model
from ml_exporter.drift import (
    Drift,
    comparison,
    drifted,
    floor_of,
    methods_of,
    reference_cells,
    references_of,
)
from ml_exporter.evaluation import ModelReport, WindowReport
from ml_exporter.layout import Layout
from ml_exporter.metrics import drift as collector
from ml_exporter.metrics import models
from ml_exporter.metrics.families import Families
from ml_exporter.metrics.health import unavailable_columns
from ml_exporter.profile import CategoricalColumn, Profile, load, save
from ml_exporter.profile_build import build
from ml_exporter.profile_data import Rows
from ml_exporter.profile_noise import Floors
from ml_exporter.stats.distance import METHODS, Comparison, distance, registered
from ml_exporter.stats.result import Unavailable, Value
from ml_exporter.tally import Tally

ALL = list(METHODS)
NAME = "flight-delay"
ROWS = 6_000


def record(rng: np.random.Generator, number: int, offset: float, shift: float = 0.0) -> Record:
    """A model that always says 0.3; how right that is depends on `x`, which `shift` moves."""
    x = float(rng.normal(shift, 1))
    kind = "abc"[min(int(rng.integers(0, 3)) + (rng.random() < shift / 3), 2)]
    features = {"x": round(x, 4), "kind": kind, "flat": round(float(rng.random()), 4)}
    label = bool(rng.random() < 1 / (1 + np.exp(-1.5 * x)))
    score = 0.3 + 0.1 * rng.random()
    return {**prediction(number, offset, score), "features": features, "label": label}


def own_labels(**more: Any) -> dict[str, Any]:
    """A model whose label is in the same record, so that nothing waits."""
    made = model(profile="profile.json", **more)
    del made["labels"]
    made["predictions"]["fields"] = {**FIELDS, "features": "features", "label": "label"}
    return made


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a profile of all methods."""
    site = Site(tmp_path_factory.mktemp("drift"), [own_labels(drift={"methods": ALL})])
    rng = np.random.default_rng(1)
    site.predict(*(record(rng, number, number - ROWS) for number in range(ROWS)))
    (own,) = site.config().models
    log = site.folder / f"{NAME}-predictions.jsonl"
    save(build(own, Rows(own, [log], None, None)), site.folder / "profile.json")
    return site.folder


@pytest.fixture
def site(folder: Path, tmp_path: Path) -> Site:
    (tmp_path / "profile.json").write_bytes((folder / "profile.json").read_bytes())
    return Site(tmp_path, [own_labels()])


def configured(site: Site, **drift: object) -> tuple[Model, Layout]:
    site.models = [own_labels(drift=drift)]
    (own,) = site.config().models
    return own, Layout(load(site.folder / "profile.json"))


def flat(layout: Layout, rng: np.random.Generator, rows: int) -> NDArray[np.int64]:
    """Counts of a window in which every cell of a column is as likely, invalid ones too."""
    counts = np.zeros(layout.size, np.int64)
    for cells in layout.cells.values():
        counts[cells.offset : cells.offset + cells.size] = rng.multinomial(
            rows, np.full(cells.size, 1 / cells.size)
        )
    return counts


def test_columns_together_have_the_distances_they_have_alone(site: Site) -> None:
    own, layout = configured(site, methods=ALL)
    rng = np.random.default_rng(2)
    counts, other = flat(layout, rng, 400), flat(layout, rng, 700)
    columns = Columns(layout, own)
    for reference, found in (
        (None, list(columns.drifts(counts, "10m"))),
        (other, list(columns.drifts(counts, "10m", "previous", other))),
    ):
        assert {(item.column, item.method) for item in found} == {
            (name, method.name)
            for name, cells in layout.cells.items()
            for method in methods_of(own, name, cells.column)
            if reference is None or name != "label"
        }
        for item in found:
            cells = layout.cells[item.column]
            against = None if reference is None else cells.of(reference)[: cells.bins]
            sides = comparison(cells.column, METHODS[item.method], cells.of(counts)[: cells.bins], against)
            alone = distance(METHODS[item.method], sides)
            assert isinstance(alone, Value)
            assert isinstance(item.result, Value)
            assert item.result.value == pytest.approx(alone.value, rel=1e-12)
            assert item.result.n == alone.n
            known = cells.column.noise[item.method]
            floor = floor_of(cells.column, known.table, alone.n, int(sides.reference.sum()))
            chunk = known.chunks.get("10m", 0.0) if reference is None else 0.0
            assert item.noise == max(floor, chunk)


def test_a_profile_of_no_columns_has_no_drift(site: Site) -> None:
    own, _ = configured(site, pvalues=True)
    columns = Columns(Layout(None), own)
    nothing = np.zeros(0, np.int64)
    assert not list(columns.drifts(nothing, "10m"))
    assert not list(columns.impacts(nothing, "training"))
    assert not list(columns.chances(nothing, "training"))


@pytest.mark.parametrize(
    ("drift", "numeric", "categorical"),
    [
        ({}, ["psi", "wasserstein"], ["psi", "cramers_v"]),
        ({"methods": ["hellinger", "ks"]}, ["hellinger", "ks"], ["hellinger"]),
        ({"methods": ["ks"]}, ["ks"], ["psi", "cramers_v"]),
        ({"ks": {"max": 0.1}}, ["psi", "wasserstein", "ks"], ["psi", "cramers_v"]),
        (
            {"columns": {"kind": {"l_infinity": {"max": 0.1}}}},
            ["psi", "wasserstein"],
            ["psi", "cramers_v", "l_infinity"],
        ),
    ],
)
def test_methods_are_the_configured_ones_and_those_with_a_limit(
    site: Site, drift: dict[str, object], numeric: list[str], categorical: list[str]
) -> None:
    own, layout = configured(site, **drift)
    for name, expected in (("x", numeric), ("kind", categorical)):
        assert [method.name for method in methods_of(own, name, layout.cells[name].column)] == expected


def test_impact_is_the_change_of_the_loss_under_covariate_shift(site: Site) -> None:
    own, layout = configured(site)
    rng = np.random.default_rng(3)
    before = [record(rng, number, 0) for number in range(20_000)]
    after = [record(rng, number, 0, shift=0.7) for number in range(20_000)]
    losses = [np.mean([(row["score"] - row["label"]) ** 2 for row in rows]) for rows in (before, after)]
    x = layout.cells["x"]
    counts = np.zeros(layout.size, np.int64)
    values = np.asarray([row["features"]["x"] for row in after])
    counts[x.offset : x.offset + x.size] = np.bincount(x.numeric_codes(values, None), minlength=x.size)
    found = {item.column: item.value for item in Columns(layout, own).impacts(counts, "training")}
    assert losses[1] - losses[0] > 0.04
    assert found["x"] == pytest.approx(losses[1] - losses[0], abs=0.015)
    assert set(found) == {"x"}  # nothing was counted of the others


def test_impact_of_what_the_loss_does_not_depend_on_is_small(site: Site) -> None:
    own, layout = configured(site)
    cells = layout.cells["flat"]
    counts = np.zeros(layout.size, np.int64)
    half = cells.column.size // 2
    counts[cells.offset : cells.offset + half] = reference_cells(cells.column)[:half]
    (found,) = Columns(layout, own).impacts(counts, "training")
    assert abs(found.value) < 0.01


def test_bins_without_a_known_loss_have_no_impact(site: Site) -> None:
    own, layout = configured(site)
    cells = layout.cells["kind"]
    assert isinstance(cells.column, CategoricalColumn)
    counts = np.zeros(layout.size, np.int64)
    counts[cells.offset : cells.offset + 3] = reference_cells(cells.column)[:3]
    counts[cells.offset + cells.column.unseen_code] = 0
    (still,) = Columns(layout, own).impacts(counts, "training")
    assert still.value == pytest.approx(0.0, abs=1e-9)
    counts[:] = 0
    counts[cells.offset + cells.column.unseen_code] = 1_000
    (unseen,) = Columns(layout, own).impacts(counts, "training")
    # All that is known is gone; what came instead is taken to lose as much as the mean.
    assert unseen.value == pytest.approx(0.0, abs=1e-9)


def test_adjusted_pvalues_are_those_of_the_raw_values(site: Site) -> None:
    own, layout = configured(site, pvalues=True)
    counts = flat(layout, np.random.default_rng(4), 60)
    counts[layout.cells["flat"].offset : layout.cells["flat"].offset + layout.cells["flat"].size] = 0
    found = {item.column: item for item in Columns(layout, own).chances(counts, "training")}
    assert set(found) == {"x", "kind", "score", "prediction", "label"}  # `flat` has no rows
    raw = {}
    for name, item in found.items():
        cells = layout.cells[name]
        assert item.method == ("ks" if cells.column.kind == "numeric" else "cramers_v")
        sides = comparison(cells.column, METHODS[item.method], cells.of(counts)[: cells.bins])
        n, m = int(sides.current.sum()), int(sides.reference.sum())
        if item.method == "ks":
            raw[name] = stats.kstwobign.sf(float(METHODS["ks"].function(sides)) * np.sqrt(n * m / (n + m)))
        else:
            table = np.stack([sides.current, sides.reference])
            table = table[:, table.sum(axis=0) > 0]
            raw[name] = stats.chi2_contingency(table, correction=False).pvalue
    expected = stats.false_discovery_control(list(raw.values()))
    assert [found[name].value for name in raw] == pytest.approx(expected.tolist(), rel=1e-6, abs=1e-300)


def advanced(site: Site, now: float) -> ModelReport:
    engine = site.engine()
    site.now = now
    report = engine.cycle().reports[0][0]
    engine.store.close()
    return report


def alert(report: ModelReport) -> WindowReport:
    return report.versions[0].windows[-1]


def values(report: ModelReport, reference: str, method: str = "psi") -> dict[str, object]:
    return {
        item.column: item.result
        for item in alert(report).drift
        if (item.reference, item.method) == (reference, method)
    }


class TestPreviousWindow:
    """The alert window is 10 minutes, its panes 10 seconds."""

    def test_needs_rows_of_its_own(self, site: Site) -> None:
        site.models = [own_labels(drift={"references": ["training", "previous"]})]
        rng = np.random.default_rng(5)
        site.predict(*(record(rng, number, number / 2) for number in range(1_000)))
        report = advanced(site, 510)
        assert set(values(report, "previous").values()) == {Unavailable("short_reference")}
        assert all(isinstance(result, Value) for result in values(report, "training").values())

    def test_is_the_window_right_before(self, site: Site) -> None:
        """Rows change after 10 minutes; half an hour later nothing changes any more but the reference."""
        site.models = [own_labels(drift={"references": ["training", "previous"], "psi": {"max": 0.2}})]
        rng = np.random.default_rng(6)
        site.predict(*(record(rng, number, number / 2, 1.0 * (number > 1_200)) for number in range(4_800)))
        report = advanced(site, 1_200)
        changed, known = values(report, "previous")["x"], values(report, "training")["x"]
        assert isinstance(changed, Value)
        assert isinstance(known, Value)
        assert changed.value > 0.5
        assert changed.n == known.n == pytest.approx(1_200, abs=22)
        # Restarted, the panes of both windows are still there.
        report = advanced(site, 1_500)
        both = values(report, "previous")["x"]
        assert isinstance(both, Value)
        assert 0.0 < both.value < changed.value
        report = advanced(site, 2_399)
        still, known = values(report, "previous")["x"], values(report, "training")["x"]
        assert isinstance(still, Value)
        assert isinstance(known, Value)
        assert still.value < 0.05
        assert known.value > 0.5
        noise = {item.column: item.noise for item in alert(report).drift if item.reference == "previous"}
        assert noise["x"] is not None
        assert still.value < noise["x"] < 0.2
        assert "label" not in noise

    def test_panes_are_kept_only_where_they_are_asked_for(self, site: Site) -> None:
        rng = np.random.default_rng(7)
        site.predict(*(record(rng, number, number) for number in range(5, 2_400, 10)))
        for references, panes in ((["training"], 60), (["training", "previous"], 120)):
            site.models = [own_labels(drift={"references": references})]
            (site.folder / "state.duckdb").unlink(missing_ok=True)
            engine = site.engine()
            site.now = 2_400
            engine.cycle()
            (version,) = engine.pipelines[0].state.versions.values()
            sizes = [len(ring.tallies) for ring in version.panes["inputs"]]
            judged = [len(ring.tallies) for ring in version.panes["judged"]]
            engine.store.close()
            # A row every 10 seconds fills every pane of the longest window.
            assert sizes[-1] == panes - 1
            assert judged[-1] == 59
            assert sizes[:2] == judged[:2]

    def test_nothing_else_of_the_window_changes(self, site: Site) -> None:
        rng = np.random.default_rng(8)
        site.predict(*(record(rng, number, number) for number in range(2_000)))
        found = []
        for references in (["training"], ["training", "previous"]):
            site.models = [own_labels(drift={"references": references})]
            (site.folder / "state.duckdb").unlink(missing_ok=True)
            report = advanced(site, 1_800)
            found.append((alert(report).rows, alert(report).health, values(report, "training")))
        assert found[0] == found[1]


def families(report: ModelReport, layout: Layout) -> dict[str, float]:
    found = Families()
    collector.collect(found, report, 0.0)
    models.collect(found, report.model, {"default": layout})
    return {
        f"{sample.name}{{{','.join(sample.labels.values())}}}": sample.value
        for family in found.collect()
        for sample in family.samples
    }


class TestPage:
    """What is exported of a shifted window."""

    @pytest.fixture
    def page(self, site: Site) -> dict[str, float]:
        limits = {"psi": {"max": 0.2}, "columns": {"flat": {"mean_shift": {"max": 0.5}}}}
        drift = {"references": ["training", "previous"], "pvalues": True, **limits}
        site.models = [own_labels(drift=drift, drifted_columns_limit=0.4)]
        rng = np.random.default_rng(9)
        site.predict(*(record(rng, number, number, 1.0 * (number > 600)) for number in range(1_200)))
        report = advanced(site, 1_200)
        return families(report, report.versions[0].layout)

    def test_limits_and_noise_stand_beside_each_reference(self, page: dict[str, float]) -> None:
        for reference in ("training", "previous"):
            where = f"10m,{reference}}}"
            assert page[f"ml_drift_limit{{{NAME},x,psi,{where}"] == 0.2
            assert (
                page[f"ml_drift{{{NAME},1,x,psi,{where}"]
                > page[f"ml_drift_noise{{{NAME},1,x,psi,{where}"]
                > 0
            )
            assert page[f"ml_drift_limit{{{NAME},flat,mean_shift,{where}"] == 0.5
            assert f"ml_drift_noise{{{NAME},1,x,wasserstein,{where}" not in page
            assert page[f"ml_drift_pvalue{{{NAME},1,x,ks,{where}"] < 1e-6
            assert page[f"ml_drift_impact{{{NAME},1,x,{where}"] > 0.05
        assert f"ml_drift_limit{{{NAME},label,psi,10m,previous}}" not in page
        assert page[f"ml_drift_limit{{{NAME},label,psi,10m,training}}"] == 0.2

    def test_the_share_of_drifted_columns(self, page: dict[str, float]) -> None:
        assert page[f"ml_drifted_columns_limit{{{NAME}}}"] == 0.4
        ratio = page[f"ml_drifted_columns_ratio{{{NAME},1,10m,training}}"]
        above = [
            page[key] > max(0.2, page[key.replace("ml_drift{", "ml_drift_noise{")])
            for key in page
            if key.startswith("ml_drift{") and key.endswith("psi,10m,training}")
        ]
        assert len(above) == 6
        assert ratio == pytest.approx(sum(above) / 6)
        assert 0 < ratio < 1


@pytest.mark.parametrize("reference", ["training", "previous"])
def test_rows_in_parts_give_the_distances_of_the_whole_whatever_is_among_them(
    folder: Path, tmp_path: Path, reference: str
) -> None:
    """Every method: missing values, texts, NaN and infinities, in one file or in seven."""
    rng = np.random.default_rng(11)
    odd: list[object] = [None, "nan", "NaN", "oops", "inf", "-Infinity", True, [1]]
    rows = [dict(record(rng, number, number % 1_150)) for number in range(2_100)]
    for number, row in enumerate(rows):
        if number % 9 == 0:
            row["features"] = {**row["features"], "x": odd[number // 9 % len(odd)], "flat": None}
    found = []
    for parts in (1, 7):
        site = Site(tmp_path / str(parts), [own_labels(drift={"methods": ALL, "references": [reference]})])
        site.folder.mkdir()
        (site.folder / "profile.json").write_bytes((folder / "profile.json").read_bytes())
        for part in range(parts):
            site.predict(*rows[part::parts])
            log = site.folder / f"{NAME}-predictions.jsonl"
            log.rename(log.with_name(f"{log.name}.{part + 1}"))
        found.append(alert(advanced(site, 1_160)).drift)
    whole, merged = found
    assert whole == merged
    assert {(drift.column, drift.method) for drift in whole} >= {
        (name, method) for name in ("x", "flat") for method in ALL if registered(method, "numeric")
    }
    assert all(isinstance(drift.result, Value) and np.isfinite(drift.result.value) for drift in whole)


def test_the_share_of_drifted_columns_is_told_by_the_first_method_that_has_a_limit() -> None:
    def drift(column: str, method: str, value: float, limit: float | None) -> Drift:
        return Drift(column, method, Value(value, None, None, 100), 0.05, False, limit=limit)

    found = [
        drift("x", "psi", 0.9, None),
        drift("x", "wasserstein", 0.4, 0.3),
        drift("x", "ks", 0.0, 0.3),
        drift("y", "psi", 0.9, None),
        drift("y", "wasserstein", 0.2, 0.3),
        drift("z", "psi", 0.9, None),
    ]
    assert drifted(found, "training") == 1 / 2
    assert drifted(found, "previous") is None


def test_without_limits_there_is_no_share_of_drifted_columns(site: Site) -> None:
    rng = np.random.default_rng(10)
    site.predict(*(record(rng, number, number) for number in range(600)))
    report = advanced(site, 600)
    assert drifted(alert(report).drift, "training") is None
    assert not [key for key in families(report, report.versions[0].layout) if "drifted" in key]
    assert references_of(report.model) == ("training",)


def test_a_profile_without_noise_of_a_method_says_so(site: Site) -> None:
    profile = load(site.folder / "profile.json")
    columns = {
        name: column.model_copy(
            update={"noise": {key: item for key, item in column.noise.items() if key != "ks"}}
        )
        for name, column in profile.columns.items()
    }
    save(Profile.model_validate({**dict(profile), "columns": columns}), site.folder / "profile.json")
    site.models = [own_labels(drift={"columns": {"x": {"ks": {"max": 0.1}}}})]
    rng = np.random.default_rng(11)
    site.predict(*(record(rng, number, number) for number in range(600)))
    report = advanced(site, 600)
    assert unavailable_columns(report)["1", "10m", "noise", "no_profile"] == 1


def test_columns_of_equal_shares_share_a_floor_and_others_do_not(folder: Path) -> None:
    profile = load(folder / "profile.json")
    floors, methods = Floors(), [METHODS[name] for name in ("psi", "ks", "wasserstein")]
    x, flat_ = profile.columns["x"], profile.columns["flat"]
    first, second = floors.of("x", x, methods), floors.of("flat", flat_, methods)
    assert first["psi"] is second["psi"]
    assert first["wasserstein"] != second["wasserstein"]
    assert Floors().of("flat", flat_, methods) == second  # whatever columns came before
    # The floor of other proportions is another one.
    counts = tuple(count * (5 if place % 3 else 1) for place, count in enumerate(x.counts))
    other = x.model_copy(update={"counts": counts})
    assert floors.of("x", other, [METHODS["psi"]])["psi"] != first["psi"]


@pytest.mark.parametrize("method", ["psi", "cramers_v", "hellinger", "l_infinity"])
@pytest.mark.parametrize("rows", [50, 200, 20_000])
def test_floors_of_rounded_shares_are_exceeded_as_often_as_they_say(method: str, rows: int) -> None:
    """Shares that lie as far from the rounded ones as they can."""
    shares = np.asarray([0.31, 0.19, 0.15, 0.12, 0.09, 0.06, 0.05, 0.03])
    counts = tuple(np.rint(shares * 1e6).astype(int).tolist())
    own = CategoricalColumn(
        kind="categorical", categories=tuple("abcdefgh"), rare=(), counts=(*counts, 0, 0), missing=0
    )
    table = Floors().of("own", own, [METHODS[method]])[method]
    rng = np.random.default_rng(13)
    # Of 20,000 runs without drift two are to exceed it; what 1 % of them exceed lies well below.
    current, reference = (rng.multinomial(n, (*shares, 0, 0, 0), 20_000) for n in (rows, 20 * rows))
    values = METHODS[method].function(Comparison(current, reference))
    floor = floor_of(own, table, rows, 20 * rows)
    assert np.count_nonzero(values > floor) <= 9
    assert np.quantile(values, 0.99) < floor < 1.5 * np.max(values)


@pytest.mark.parametrize("share", [0.45, 0.3, 0.1, 0.03, 0.004])
def test_few_rows_of_two_categories_are_above_the_floor_of_rounded_shares_as_rarely_as_it_says(
    share: float,
) -> None:
    second = round(share * 100_000)
    own = CategoricalColumn(
        kind="categorical", categories=("a", "b"), rare=(), counts=(100_000 - second, second, 0, 0), missing=0
    )
    table = Floors().of("own", own, [METHODS["psi"]])["psi"]
    for n in range(10, 60):
        counts = np.zeros((n + 1, 5), np.int64)
        counts[:, 0], counts[:, 1] = n - np.arange(n + 1), np.arange(n + 1)
        values = METHODS["psi"].function(comparison(own, METHODS["psi"], counts))
        above = values > floor_of(own, table, n, 100_000)
        assert stats.binom.pmf(counts[:, 1], n, share)[above].sum() <= 1.5e-4


def test_twenty_rows_of_one_value_are_not_above_the_noise_on_the_page(
    tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    """The profile has 5,000 times as many, and adding half a row to each bin puts PSI beyond its limit."""

    def same(rows: int) -> Iterator[Record]:
        features = {"same": 7, "colour": "red"}
        return ({**prediction(number, number / 5_000), "features": features} for number in range(rows))

    site = Site(tmp_path, [model(profile="profile.json", drift={"psi": {"max": 0.2}})])
    log = site.folder / f"{NAME}-predictions.jsonl"
    site.predict(*same(100_000))
    (own,) = site.config().models
    save(build(own, Rows(own, [log], None, None)), site.folder / "profile.json")
    log.unlink()
    (site.folder / f"{NAME}-labels.jsonl").touch()
    site.predict(*same(20))
    assert main(["evaluate", "--config.file", str(site.config_path)]) == 0
    page = text_string_to_metric_families(capfdbinary.readouterr().out.decode())
    psi = {
        (sample.name, sample.labels["column"]): sample.value
        for family in page
        for sample in family.samples
        if sample.labels.get("method") == "psi" and sample.labels.get("window") == "10m"
    }
    for column in ("same", "colour", "prediction"):
        assert psi["ml_drift", column] > 0.2
        assert psi["ml_drift_noise", column] == psi["ml_drift", column]


def test_previous_cells_add_up_as_panes_do(site: Site) -> None:
    site.models = [own_labels(drift={"references": ["previous"]})]
    rng = np.random.default_rng(12)
    site.predict(*(record(rng, number, number) for number in range(1_700)))
    engine = site.engine()
    site.now = 1_700
    engine.cycle()
    (version,) = engine.pipelines[0].state.versions.values()
    now = round((START + 1_700) * 1e6)
    ring, step = version.panes["inputs"][-1], version.panes["inputs"][-1].step
    first = now // step - 59
    expected = Tally.sum(
        version.shapes["inputs"],
        [tally for pane, tally in ring.tallies.items() if first - 60 <= pane < first],
    )
    np.testing.assert_array_equal(version.previous_cells(2, now), expected["cells"])
    assert expected.count("rows") == 600
    engine.store.close()
