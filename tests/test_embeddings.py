"""Columns of embeddings: lists of numbers, watched by their norm and by where their mean lies."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pytest
from numpy.typing import NDArray
from tests.support.site import FIELDS, Record, Site, model, prediction

from ml_exporter.drift import Drift
from ml_exporter.evaluation import ModelReport, WindowReport
from ml_exporter.limits import drift_limits
from ml_exporter.profile import NumericColumn, Profile, ProfileError, load, save
from ml_exporter.profile_build import build
from ml_exporter.profile_data import Rows
from ml_exporter.profile_print import print_profile
from ml_exporter.sources.decode import VECTORS
from ml_exporter.stats.result import Unavailable, Value

NAME = "flight-delay"
SIZE = 6
REFERENCE = 3_000


def vectors(rng: np.random.Generator, n: int) -> NDArray[np.float64]:
    return np.round(rng.normal(size=(n, SIZE)) * [3, 2, 1, 1, 0.5, 0.1] + [0, 1, 2, 3, 4, 5], 4)


def turned(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """The same vectors turned round an axis: their norms stay what they were."""
    return np.stack([*values[:, :4].T, -values[:, 4], values[:, 5]], axis=1)


def records(values: NDArray[Any], first: int = 0) -> Iterator[Record]:
    """Ten rows a second."""
    for number, vector in enumerate(values.tolist(), first):
        yield {**prediction(number, number / 10), "features": {"e": vector, "x": 1.0}}


def embedded(form: str = "jsonl", **more: Any) -> dict[str, Any]:
    made = model(**{"drift": {"centroid": {"max": 0.5}}, "windows": ["1m"], "alert_window": "1m", **more})
    del made["labels"]
    made["predictions"] = {"path": f"{NAME}-predictions.{form}", "format": form, "fields": dict(FIELDS)}
    return made


def profiled(site: Site, time_scale: float = 1.0) -> Profile:
    (own,) = site.config().models
    return build(own, Rows(own, [Path(own.predictions.path)], None, None), time_scale)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    site = Site(tmp_path_factory.mktemp("embedded"), [embedded()])
    site.predict(*records(vectors(np.random.default_rng(1), REFERENCE)))
    save(profiled(site), site.folder / "profile.json")
    return site.folder


@pytest.fixture
def site(folder: Path, tmp_path: Path) -> Site:
    (tmp_path / "profile.json").write_bytes((folder / "profile.json").read_bytes())
    return Site(tmp_path, [embedded(profile="profile.json")])


def advanced(site: Site, now: float = 60.0) -> ModelReport:
    site.now = now
    engine = site.engine()
    while (snapshot := engine.cycle()).behind:
        pass
    engine.store.close()
    ((report, _),) = snapshot.reports
    return report


def alert(report: ModelReport) -> WindowReport:
    return report.versions[0].windows[-1]


def drifts(report: ModelReport) -> dict[str, Drift]:
    return {drift.method: drift for drift in alert(report).drift if drift.column == "e"}


def column(found: Profile) -> NumericColumn:
    own = found.columns["e"]
    assert isinstance(own, NumericColumn)
    return own


def test_the_profile_knows_where_the_vectors_lie(folder: Path) -> None:
    values = vectors(np.random.default_rng(1), REFERENCE)
    own = column(load(folder / "profile.json"))
    assert own.source == own.taken_for == "embedding"
    assert own.note == f"lists of numbers (DOUBLE[]), {SIZE} each, watched by norm and centroid"
    assert own.mean == pytest.approx(np.linalg.norm(values, axis=1).mean(), rel=1e-6)
    known = own.embedding
    assert known is not None
    assert known.rows == REFERENCE
    np.testing.assert_allclose(known.centroid, values.mean(axis=0), rtol=1e-5)
    assert known.deviation == pytest.approx(np.sqrt(values.var(axis=0).sum()), rel=1e-6)
    assert set(known.chunks) == set(known.limits) == set()


def test_vectors_like_the_reference_are_within_the_noise(site: Site) -> None:
    values = vectors(np.random.default_rng(2), 589)
    site.predict(*records(values, 11))
    found = drifts(advanced(site))["centroid"]
    assert isinstance(found.result, Value)
    assert found.result.n == 589
    known = column(load(site.folder / "profile.json")).embedding
    assert known is not None
    expected = np.linalg.norm(values.mean(axis=0) - known.centroid) / known.deviation
    assert found.result.value == pytest.approx(expected, rel=1e-9)
    assert found.noise is not None
    assert found.result.value < found.noise
    assert found.limit == 0.5


def test_vectors_that_turn_round_are_found_though_their_norms_are_what_they_were(site: Site) -> None:
    site.predict(*records(turned(vectors(np.random.default_rng(2), 589)), 11))
    found = drifts(advanced(site))
    for method, drift in found.items():
        assert isinstance(drift.result, Value)
        assert drift.noise is not None
        assert (drift.result.value > drift.noise) == (method == "centroid")
    assert set(found) == {"psi", "wasserstein", "centroid"}


def test_other_lengths_and_what_is_no_list_have_a_wrong_type(site: Site) -> None:
    values: list[Any] = vectors(np.random.default_rng(2), 100).tolist()
    values[3], values[4], values[5], values[6] = values[3][:2], "text", None, [*values[6][:-1], None]
    site.predict(
        *({**prediction(n, n / 10), "features": {"e": v, "x": 1.0}} for n, v in enumerate(values, 11))
    )
    report = advanced(site)
    health = alert(report).health
    assert health is not None
    counts = {v.check: v.count for v in health.violations if v.column == "e"}
    assert (counts["missing"], counts["wrong_type"]) == (1, 3)
    found = drifts(report)["centroid"].result
    assert isinstance(found, Value)
    assert found.n == 96


def test_versions_may_differ_in_length(site: Site) -> None:
    other = Site(site.folder / "other", [embedded()])
    other.folder.mkdir()
    longer = np.repeat(vectors(np.random.default_rng(5), 500), 2, axis=1)
    other.predict(*records(longer))
    save(profiled(other), site.folder / "longer.json")
    site.models = [embedded(profile={"default": "profile.json", "2": "longer.json"})]
    site.predict(*records(vectors(np.random.default_rng(6), 100), 11))
    site.predict(*({**row, "version": "2"} for row in records(longer[:200], 300)))
    report = advanced(site)
    found = {version.name: version.windows[-1] for version in report.versions}
    for name, n in (("1", 100), ("2", 200)):
        centroid = next(drift for drift in found[name].drift if drift.method == "centroid")
        assert isinstance(centroid.result, Value)
        assert centroid.result.n == n
        health = found[name].health
        assert health is not None
        assert {v.count for v in health.violations if (v.column, v.check) == ("e", "wrong_type")} == {0}


def test_a_profile_without_the_place_of_vectors_is_named(folder: Path, tmp_path: Path) -> None:
    content = json.loads((folder / "profile.json").read_text())
    del content["columns"]["e"]["embedding"]
    (tmp_path / "damaged.json").write_text(json.dumps(content))
    with pytest.raises(ProfileError, match=r"damaged\.json: columns\.e.*make it again"):
        load(tmp_path / "damaged.json")


def test_too_few_vectors_say_so(site: Site) -> None:
    site.predict(*records(vectors(np.random.default_rng(2), 5), 11))
    assert drifts(advanced(site))["centroid"].result == Unavailable("too_few_rows")


def test_sums_are_there_again_after_a_restart(site: Site) -> None:
    site.predict(*records(vectors(np.random.default_rng(2), 300), 11))
    before = drifts(advanced(site))["centroid"]
    assert drifts(advanced(site))["centroid"] == before


@pytest.mark.parametrize("form", ["csv", "parquet"])
def test_lists_in_other_formats_are_the_same(site: Site, form: str) -> None:
    values = vectors(np.random.default_rng(3), 400)
    site.predict(*records(values, 11))
    expected = drifts(advanced(site))["centroid"].result
    own = embedded(form, profile="profile.json")
    own["predictions"]["fields"] = {**FIELDS, "features": ["features.e", "features.x"]}
    lines = site.folder / f"{NAME}-predictions.jsonl"
    rows = [json.loads(line) for line in lines.read_text().splitlines()]
    duckdb.connect().execute(
        'COPY (SELECT id, ts, version, score, prediction, latency_s, features.e AS "features.e", '
        f"features.x AS \"features.x\" FROM read_json('{lines}', columns={{id: 'VARCHAR', ts: 'VARCHAR', "
        "version: 'VARCHAR', score: 'DOUBLE', prediction: 'BOOLEAN', latency_s: 'DOUBLE', "
        f"features: 'STRUCT(e DOUBLE[], x DOUBLE)'}})) TO '{site.folder}/{NAME}-predictions.{form}'"
    )
    assert len(rows) == 400
    site.models, site.exporter = [own], {**site.exporter, "state": f"{form}.duckdb"}
    found = drifts(advanced(site))["centroid"].result
    assert isinstance(found, Value)
    assert isinstance(expected, Value)
    assert found.value == pytest.approx(expected.value, rel=1e-9)


def test_of_many_rows_every_so_many_stand_for_all(site: Site) -> None:
    values = vectors(np.random.default_rng(4), 6 * VECTORS)
    rows = ({**record, "ts": prediction(0, 11 + n / 200)["ts"]} for n, record in enumerate(records(values)))
    site.predict(*rows)
    found = drifts(advanced(site))["centroid"]
    assert isinstance(found.result, Value)
    assert found.noise is not None
    assert VECTORS * 0.8 < found.result.n <= 6 * VECTORS
    assert found.result.value < found.noise


@pytest.mark.parametrize(
    ("values", "note"),
    [
        ([[1.0, 2.0], [1.0, 2.0, 3.0]], "lists of numbers (DOUBLE[]) of different lengths"),
        ([[1.0], [2.0]], "lists of numbers (DOUBLE[]), of which none has 2 to 4096 items"),
        ([["a", "b"], ["c", "d"]], "VARCHAR[] is not watched"),
    ],
)
def test_lists_that_are_no_embeddings_are_ignored(tmp_path: Path, values: list[Any], note: str) -> None:
    site = Site(tmp_path, [embedded(drift={})])
    site.predict(
        *({**prediction(n, n / 10), "features": {"e": values[n % 2], "x": n % 7}} for n in range(100))
    )
    assert profiled(site).ignored["e"] == note


def test_the_largest_stretch_of_the_reference_is_noise_and_suggests_a_limit(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "300")
    site = Site(tmp_path, [embedded(drift={"limits": "auto"})])
    values = vectors(np.random.default_rng(1), REFERENCE)
    values[400:600] += 1.0
    site.predict(*records(values))
    made = profiled(site, time_scale=1 / 3)  # stretches of 20 seconds
    known = column(made).embedding
    assert known is not None
    chunks = np.split(values[:2_800], 14)  # the last one is not complete
    distances = []
    for index, chunk in enumerate(chunks):
        rest = np.concatenate([values[: index * 200], values[(index + 1) * 200 :]])
        distances.append(np.linalg.norm(chunk.mean(axis=0) - rest.mean(axis=0)) / known.deviation)
    assert np.argmax(distances) == 2
    assert known.chunks == {"1m": pytest.approx(max(distances), rel=1e-6)}
    floor = np.sqrt(known.floor * (1 / 200 + 1 / REFERENCE))
    assert known.limits == {"1m": pytest.approx(max(distances) + floor, rel=1e-6)}
    (own,) = site.config().models
    assert drift_limits(own, made.columns)["e", "centroid"] == known.limits["1m"]
    (own,) = Site(tmp_path, [embedded()]).config().models
    assert drift_limits(own, made.columns) == {("e", "centroid"): 0.5}
    print_profile(made, tmp_path / "profile.json", {})
    assert f"centroid {known.limits['1m']:.2g}" in capsys.readouterr().out


def test_equal_vectors_have_distances_in_their_own_unit(tmp_path: Path) -> None:
    site = Site(tmp_path, [embedded()])
    site.predict(*records(np.ones((100, SIZE))))
    known = column(profiled(site)).embedding
    assert known is not None
    assert (known.deviation, known.floor) == (1.0, 0.0)
