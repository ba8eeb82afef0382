"""Input health from logs to numbers, against plain Python over the same records."""

import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.stats import binom
from tests.support import rows as made_rows
from tests.support.made import after, longest, looked_back, profiled, renew, version_of
from tests.support.site import START, Site, label, model, prediction, stamp

from ml_exporter.evaluation import ModelReport
from ml_exporter.health import limits_of, upper_share, violations
from ml_exporter.layout import Layout
from ml_exporter.metrics import health, models
from ml_exporter.metrics.families import Families
from ml_exporter.profile import NumericColumn, Profile
from ml_exporter.tally import Tally, input_shape

N = 1_500
PLANS = ("free", "pro", "team")
COLUMNS = {
    "age": {"min": 0, "max": 100},
    "size": {"allowed": [1, 2, 3]},
    "plan": {"allowed": ["free", "pro", "team", "new"], "regex": "[a-z]+", "not_null": True},
    "remark": {"kind": "text", "regex": "[^!]*"},
    "since": {"kind": "timestamp"},
}


def sound(rng: np.random.Generator, offset: float) -> dict[str, Any]:
    """Features as they should be."""
    return {
        "age": round(float(np.clip(rng.normal(40, 10), 1, 99)), 3),
        "size": int(rng.integers(1, 4)),
        "plan": str(rng.choice(PLANS, p=[0.6, 0.3, 0.1])),
        "remark": "" if rng.uniform() < 0.2 else "word " * int(rng.integers(1, 6)),
        "since": stamp(offset - float(rng.exponential(3_600))),
        "spread": float(rng.standard_t(2)),
    }


WRONG: dict[str, list[object]] = {
    "age": [None, "old", -3, 400, 1e9, True, [1]],
    "size": [None, 4, 2.5, "x"],
    "plan": [None, "new", "gold", "PRO", "", "p9"],
    "remark": [None, "", "no!", "x" * 500],
    "since": [None, "soon", stamp(-9e6), 7],
    "spread": [None, 1e6, -1e6, "x"],
}


def spoiled(rng: np.random.Generator, offset: float) -> dict[str, Any]:
    """Features of which some are missing, of a wrong type, out of range or otherwise wrong."""
    features = sound(rng, offset)
    for name, choices in WRONG.items():
        draw = rng.uniform()
        if draw < 0.05:
            del features[name]
        elif draw < 0.3:
            features[name] = choices[int(rng.integers(len(choices)))]
    return features


def records(seed: int, make: Any, n: int = N, version: str = "1") -> list[dict[str, Any]]:
    rng = np.random.default_rng(seed)
    return [
        dict(prediction(f"{seed}-{row}", row * 0.3, features=make(rng, row * 0.3), version=version))
        for row in range(n)
    ]


def failures(features: dict[str, Any], time: float, profile: Profile) -> set[tuple[str, str]]:
    """The checks that a record fails, by their definitions."""
    found: set[tuple[str, str]] = set()
    for name, column in profile.columns.items():
        if name in ("score", "prediction", "label"):
            continue
        value = features.get(name)
        if value is None:
            found.add((name, "missing"))
            continue
        if not isinstance(column, NumericColumn):
            found |= {(name, "unseen")} if value not in (*column.categories, *column.rare) else set()
            found |= {(name, "not_allowed")} if value not in COLUMNS[name]["allowed"] else set()  # type: ignore[operator]
            found |= {(name, "pattern")} if not re.fullmatch("[a-z]+", value) else set()
            continue
        number = _number(value, column, time)
        if column.source == "text":
            found |= {(name, "empty")} if value == "" else set()
            found |= {(name, "pattern")} if "!" in value else set()
        if number is None:
            found.add((name, "wrong_type"))
            continue
        own: dict[str, Any] = COLUMNS.get(name, {})
        low, high = own.get("min", column.minimum), own.get("max", column.maximum)
        found |= {(name, "out_of_range")} if not low <= number <= high else set()
        assert column.fences is not None
        found |= {(name, "outlier")} if not column.fences[0] <= number < column.fences[1] else set()
        found |= {(name, "not_allowed")} if "allowed" in own and number not in own["allowed"] else set()
    return found


def _number(value: Any, column: NumericColumn, time: float) -> float | None:
    if column.source == "text":
        return float(len(value))
    if column.source == "timestamp":
        if isinstance(value, int):
            return time - value
        return (
            time - np.datetime64(value[:23]).astype("datetime64[us]").astype(int) / 1e6
            if value != "soon"
            else None
        )
    # DuckDB reads a truth value as a number, and a text that is one.
    return float(value) if isinstance(value, int | float) else None


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Site:
    """A model with a profile of sound rows."""
    own = model("m", columns=COLUMNS, health={"limits": "auto", "outlier": {"max": 0.5}})
    made = Site(tmp_path_factory.mktemp("health"), models=[own])
    made.predict(*records(1, sound, 4_000), name="m")
    profiled(made)
    renew(made)
    return made


@pytest.fixture
def profile(site: Site) -> Profile:
    return Profile.model_validate_json((site.folder / "profile.json").read_bytes())


def counted(report: ModelReport, version: str = "1") -> dict[tuple[str, str], int]:
    """Violations since ever."""
    own = version_of(report, version)
    return {(item.column, item.check): item.count for item in health.violations(own.layout, own.inputs)}


def violations_of(rows: list[dict[str, Any]], profile: Profile) -> Counter[tuple[str, str]]:
    return Counter(
        failure
        for row in range(len(rows))
        for failure in failures(rows[row]["features"], START + row * 0.3, profile)
    )


@pytest.mark.parametrize("seed", [2, 3])
def test_counts_are_those_of_plain_python(site: Site, profile: Profile, seed: int) -> None:
    renew(site)
    rows = records(seed, spoiled)
    site.predict(*rows, name="m")
    report, _ = looked_back(site, 500)
    expected = violations_of(rows, profile)
    found = counted(report)
    own = {key: count for key, count in found.items() if key[0] not in ("score", "prediction")}
    assert own == {key: expected[key] for key in own}
    assert set(expected) <= set(own)
    assert {check for _, check in expected} == {
        "missing", "wrong_type", "out_of_range", "outlier", "unseen", "empty", "not_allowed", "pattern"
    }  # fmt: skip
    window = longest(report)
    assert {(item.column, item.check): item.count for item in window.violations} == found
    assert {item.rows for item in window.violations} == {N}


def test_replicas_add_up(site: Site) -> None:
    rows = records(4, spoiled)
    found = []
    for part in (rows, rows[::2], rows[1::2]):
        renew(site)
        site.predict(*part, name="m")
        found.append(counted(looked_back(site, 500)[0]))
    assert found[0] == {key: found[1][key] + found[2][key] for key in found[0]}
    assert sum(found[0].values()) > 1_000


def values(families: Families, name: str) -> dict[tuple[str, ...], float]:
    """Samples of a family by its labels but model and window."""
    return {
        tuple(value for key, value in sample.labels.items() if key not in ("model", "window")): sample.value
        for family in families.collect()
        for sample in family.samples
        if sample.name == name
    }


def test_the_profiles_shares_stand_beside_those_of_the_window(site: Site, profile: Profile) -> None:
    renew(site)
    site.predict(*records(5, sound, 300), name="m")
    families = Families()
    health.collect(families, looked_back(site, 120)[0], 0.0)
    reference = values(families, "ml_input_violation_reference")
    sound_rows = records(1, sound, 4_000)
    expected = violations_of(sound_rows, profile)
    assert reference["1", "remark", "empty"] == pytest.approx(expected["remark", "empty"] / 4_000)
    assert reference["1", "spread", "outlier"] == expected["spread", "outlier"] / 4_000 > 0.02
    assert reference["1", "age", "missing"] == 0
    ratios = values(families, "ml_input_violation_ratio")
    assert {key for key in ratios if key[2] in ("missing", "outlier", "empty")} == set(reference)


def test_limits_are_the_configurations_then_zero_then_the_profiles(site: Site) -> None:
    families = Families()
    (config,) = site.config().models
    engine = site.engine()
    models.collect(families, config, engine.pipelines[0].layouts)
    engine.store.close()
    found = values(families, "ml_input_violation_limit")
    assert found["plan", "missing"] == found["plan", "not_allowed"] == found["remark", "pattern"] == 0
    assert found["spread", "outlier"] == 0.5
    assert 0.2 < found["remark", "empty"] < 0.35
    assert 0 < found["age", "missing"] < 0.01
    assert ("label", "missing") not in found


@pytest.mark.parametrize(
    ("own", "expected"),
    [
        ({}, {"a": None, "b": 0.0}),
        ({"missing": {"max": 0.3}}, {"a": 0.3, "b": 0.0}),
        ({"missing": {"max": 0.3}, "columns": {"b": {"missing": {"max": 0.1}}}}, {"a": 0.3, "b": 0.1}),
    ],
)
def test_a_column_that_must_be_there_has_a_limit_of_its_own(
    tmp_path: Path, own: dict[str, Any], expected: dict[str, float | None]
) -> None:
    site = Site(tmp_path, models=[model("m", health=own, columns={"b": {"not_null": True}})])
    (found,) = site.config().models
    assert {name: found.health_limit(name, "missing") for name in ("a", "b")} == expected


@pytest.mark.parametrize("rows", [200, 2_000, 100_000])
@pytest.mark.parametrize("expected", [20, 200, 2_000, 10_000])
@pytest.mark.parametrize("share", [0.0005, 0.003, 0.01, 0.2])
def test_chance_exceeds_an_automatic_limit_once_in_ten_thousand(
    rows: int, expected: int, share: float
) -> None:
    # A window has no more rows than the profile that its limit comes from.
    expected = min(expected, rows)
    spread = 5 * np.sqrt(rows * share) + 10
    failed = np.unique(np.linspace(max(rows * share - spread, 0), rows * share + spread, 60).astype(int))
    weights = np.diff(binom.cdf(failed, rows, share), prepend=0.0)
    limits = [upper_share(float(x), rows, expected) for x in failed]
    exceeded = binom.sf(np.rint(np.asarray(limits) * expected), expected, share)
    assert float(np.sum(weights * exceeded)) < 1.1e-4
    # And it is no more than chance explains.
    typical = upper_share(share * rows, rows, expected)
    assert typical < share + 6 * np.sqrt((share + 3 / expected) * (1 / expected + 1 / rows)) + 3 / expected


def layout_of(column: NumericColumn) -> Layout:
    """Cells of one column."""
    profile = made_rows.layout().profile
    assert profile is not None
    return Layout(profile.model_copy(update={"columns": {"x": column}}))


@pytest.mark.parametrize("n", [3, 10, 12, 50, 139, 700, 5_000])
def test_of_few_rows_chance_exceeds_the_noise_once_in_ten_thousand(n: int) -> None:
    """With 2 % of many rows missing; a limit for the rows of an hour of the day says nothing of one at night."""
    column = made_rows.numeric([0.0]).model_copy(update={"counts": (49_000, 49_000), "missing": 2_000})
    layout = layout_of(column)
    inputs = Tally.zeros(input_shape(layout.size, 1))
    inputs["rows"][0] = n
    (found,) = (
        item for item in violations(layout, inputs, {("x", "missing"): 0.05}) if item.check == "missing"
    )
    assert found.noise is not None
    assert binom.sf(round(found.noise * n), n, 0.02) < 1.2e-4
    # And it is not much more than that.
    assert binom.sf(round(found.noise * n * 0.9) - 2, n, 0.02) > 1e-5


def test_what_none_may_fail_has_no_noise() -> None:
    layout = layout_of(made_rows.numeric([0.0]))
    inputs = Tally.zeros(input_shape(layout.size, 1))
    inputs["rows"][0] = 50
    limits = {("x", "missing"): 0.0, ("x", "wrong_type"): 0.1}
    noise = {item.check: item.noise for item in violations(layout, inputs, limits)}
    assert noise["missing"] is None
    assert noise["out_of_range"] is None
    assert noise["wrong_type"] is not None


def test_sound_rows_stay_below_automatic_limits_and_faults_do_not(site: Site) -> None:
    over = []
    for seed, make in ((6, sound), (7, spoiled)):
        renew(site)
        site.predict(*records(seed, make, 2_000), name="m")
        violations = longest(looked_back(site, 500)[0]).violations
        over.append(
            {(v.column, v.check) for v in violations if v.limit is not None and v.count > v.limit * v.rows}
        )
    assert not over[0]
    assert {check for _, check in over[1]} >= {"missing", "wrong_type", "out_of_range", "unseen", "pattern"}


def test_the_worst_stretch_of_the_profile_is_no_violation(tmp_path: Path) -> None:
    site = Site(tmp_path, models=[model("m", windows=["10m"], health={"limits": "auto"})])
    rows = [
        prediction(row, row, features={"x": None if 3_000 <= row < 3_240 else row % 7})
        for row in range(12_000)
    ]
    site.predict(*rows, name="m")
    profiled(site)
    (config,) = site.config().models
    engine = site.engine()
    limits = limits_of(config, engine.pipelines[0].layouts)
    engine.store.close()
    assert limits["x", "missing"] == 0.4


def test_a_column_that_has_become_constant_is_counted(site: Site) -> None:
    renew(site)
    rows = records(8, sound, 400)
    for row in rows:
        row["features"] |= {"plan": "pro", "age": 40.0}
    site.predict(*rows, name="m")
    report, _ = looked_back(site, 300)
    found = longest(report).health
    assert found is not None
    assert found.constants == ("age", "plan")
    assert (found.cardinalities["plan"], found.cardinalities["size"]) == (1, 3)
    families = Families()
    health.collect(families, report, 0.0)
    assert values(families, "ml_constant_columns") == {("1",): 2}
    assert values(families, "ml_column_cardinality")["1", "plan"] == 1
    assert values(families, "ml_column_reference_cardinality")["1", "plan"] == 3


def test_too_few_rows_and_what_always_is_constant_are_no_finding(tmp_path: Path) -> None:
    site = Site(tmp_path, models=[model("m", windows=["10m"])])
    rows = [
        prediction(row, row, features={"mostly": int(row % 50 == 0), "slow": row // 900})
        for row in range(12_000)
    ]
    site.predict(*rows, name="m")
    profiled(site)
    for start, n, constant in ((10_801, 40, ()), (10_801, 500, ("mostly",))):
        renew(site)
        site.predict(
            *(prediction(start + row, start + row, features={"mostly": 0, "slow": 12}) for row in range(n)),
            name="m",
        )
        site.now = start + 500
        found = longest(looked_back(site, site.now)[0]).health
        assert found is not None
        # Nine in ten stretches of ten minutes have one value of the slow column.
        assert tuple(name for name in found.constants if name not in ("score", "prediction")) == constant


def test_columns_that_vanish_or_appear_are_counted(site: Site) -> None:
    renew(site)
    rows = records(9, sound, 1_000)
    for row in rows[600:]:
        row["features"]["years"] = row["features"].pop("age")
    site.predict(*rows, name="m")
    families = Families()
    report, _ = looked_back(site, 300)
    health.collect(families, report, 0.0)
    schema = values(families, "ml_schema_columns")
    assert schema == {("expected",): 6, ("missing",): 1, ("unexpected",): 1}
    assert health.missing_columns(report) == ["age"]
    assert report.unexpected == ("years",)


def test_unexpected_columns_survive_a_restart_and_leave_with_their_window(tmp_path: Path, site: Site) -> None:
    (tmp_path / "profile.json").write_bytes((site.folder / "profile.json").read_bytes())
    own = Site(tmp_path, models=[{**site.models[0]}])
    rng = np.random.default_rng(1)
    own.predict(*(prediction(n, n, features={**sound(rng, n), "b": 1}) for n in range(60)), name="m")
    assert after(own, 60)[0].unexpected == ("b",)
    own.predict(*(prediction(n, n, features=sound(rng, n)) for n in range(60, 120)), name="m")
    assert after(own, 120)[0].unexpected == ("b",)
    assert after(own, 659)[0].unexpected == ("b",)
    assert after(own, 661)[0].unexpected == ()


def test_what_cannot_be_told_of_the_schema_is_absent(tmp_path: Path, site: Site) -> None:
    (tmp_path / "profile.json").write_bytes((site.folder / "profile.json").read_bytes())
    own = Site(tmp_path, models=[{**site.models[0]}])
    fields = {**own.models[0]["predictions"]["fields"], "features": [f"features.{name}" for name in WRONG]}
    own.models[0]["predictions"] = {**own.models[0]["predictions"], "fields": fields}
    rng = np.random.default_rng(1)
    own.predict(*(prediction(n, n, features={**sound(rng, n), "b": 1}) for n in range(5)), name="m")
    families = Families()
    health.collect(families, looked_back(own, 60)[0], 0.0)
    assert values(families, "ml_schema_columns") == {("expected",): 6}


@pytest.mark.parametrize(("lead", "skew"), [(-30.0, 0.0), (12.5, 12.5), (7_200.0, 7_200.0), (90_000.0, 0.0)])
@pytest.mark.parametrize("source", ["predictions", "labels"])
def test_a_clock_that_is_ahead_is_measured(tmp_path: Path, source: str, lead: float, skew: float) -> None:
    own = Site(tmp_path, models=[model("m")])
    own.predict(*(prediction(n, n) for n in range(60)), name="m")
    own.label(*(label(n, n) for n in range(60)), name="m")
    ahead = (own.predict, prediction) if source == "predictions" else (own.label, label)
    ahead[0](ahead[1]("late", 100 + lead), name="m")
    own.now = 100
    engine = own.engine()
    try:
        found = {item.source: item.ahead for item in engine.cycle().sources}
        assert found[source] == skew * 1e6
        assert found["labels" if source == "predictions" else "predictions"] == 0
        # Nothing was read, so nothing else is known.
        own.now = 115
        assert {item.source: item.ahead for item in engine.cycle().sources} == found
    finally:
        engine.store.close()


def repeated(site: Site, now: float) -> dict[str, int]:
    """Duplicates by version, counted by a fresh process; without a label log nothing would mature."""
    site.label(name="m")
    report, _ = after(site, now)
    return {version.name: version.duplicates for version in report.versions}


def test_repeated_ids_count_once_and_survive_restarts(tmp_path: Path) -> None:
    own = Site(tmp_path, models=[model("m", shadow=["2"], labels={"maturity": "1m", "wait": "2h"})])
    own.predict(*(prediction(n % 50, n) for n in range(60)), name="m")
    # A shadow answers the same ids, and an id of long ago is another one.
    own.predict(*(prediction(n, n, version="2") for n in range(50)), name="m")
    assert repeated(own, 59) == {"1": 0, "2": 0}
    assert repeated(own, 121) == {"1": 10, "2": 0}
    own.predict(prediction(7, 300), prediction(7, 301), prediction(8, 302, version="2"), name="m")
    assert repeated(own, 400) == {"1": 12, "2": 1}
    assert repeated(own, 500) == {"1": 12, "2": 1}
    own.predict(prediction(7, 301 + 601), name="m")
    assert repeated(own, 1_000)["1"] == 12


@pytest.mark.parametrize("seed", range(3))
def test_repeated_ids_are_those_of_plain_python_however_they_come(tmp_path: Path, seed: int) -> None:
    rng = np.random.default_rng(seed)
    own = Site(tmp_path, models=[model("m", labels={"maturity": "1m", "wait": "30m"})])
    offsets = np.sort(rng.uniform(0, 900, 300))
    rows = [prediction(int(rng.integers(150)), float(offset)) for offset in offsets]
    last: dict[str, float] = {}
    expected = 0
    for row, offset in zip(rows, offsets.tolist(), strict=True):
        expected += offset - last.get(row["id"], -1e9) <= 600
        last[row["id"]] = offset
    assert len(rows) - len(last) > expected
    done = 0
    for now in sorted([*rng.uniform(0, 1_000, 6).tolist(), 1_100.0]):
        upto = int(np.searchsorted(offsets, now))
        part = rows[done:upto]
        own.predict(*(part[place] for place in rng.permutation(len(part))), name="m")
        done, found = upto, repeated(own, now)
    assert found == {"1": expected}


def test_what_is_evicted_is_looked_at_too(tmp_path: Path) -> None:
    own = Site(tmp_path, models=[model("m")], exporter={"state": "s.duckdb", "pending_limit": 10})
    own.predict(*(prediction(n % 20, n / 100) for n in range(40)), name="m")
    assert repeated(own, 30) == {"1": 10}
    assert repeated(own, 100) == {"1": 20}


def test_the_page_is_json_free_of_names_from_the_log(site: Site) -> None:
    """Unexpected names come from a log: only how many there are is exported."""
    renew(site)
    site.predict(*(prediction(n, n, features={f"evil {n}": 1}) for n in range(300)), name="m")
    families = Families()
    report, _ = looked_back(site, 300)
    health.collect(families, report, 0.0)
    assert 0 < values(families, "ml_schema_columns")["unexpected",] <= 100
    assert "evil" not in json.dumps([str(family) for family in families.collect()])


def test_versions_may_take_a_column_for_different_things(tmp_path: Path) -> None:
    own = Site(tmp_path, models=[model("m", shadow=["2"])])
    for path, texts in (("text.json", [f"case {n}" for n in range(400)]), ("plan.json", ["a", "b"] * 200)):
        own.predict(*(prediction(n, n, features={"t": text}) for n, text in enumerate(texts)), name="m")
        profiled(own, path)
        renew(own)
    own.models[0]["profile"] = {"1": "text.json", "2": "plan.json", "default": "text.json"}
    texts = ["", "a", "c", "case 7", None]
    own.now = 100
    for version in ("1", "2"):
        own.predict(
            *(prediction(n, n, version=version, features={"t": text}) for n, text in enumerate(texts)),
            name="m",
        )
    report, _ = looked_back(own, 100)
    found = {
        version: {check: n for (column, check), n in counted(report, version).items() if column == "t" and n}
        for version in ("1", "2")
    }
    # Texts of the profile have six to eight characters, and seldom six.
    assert found == {
        "1": {"missing": 1, "empty": 1, "out_of_range": 3, "outlier": 4},
        "2": {"missing": 1, "unseen": 3},
    }
