"""`ml_exporter profile` from its flags to the file and what it prints; rows of any number and of poor quality."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.support.site import START, Site, label, model, prediction, stamp

from ml_exporter.cli import main
from ml_exporter.config import Model
from ml_exporter.engine import load_layouts
from ml_exporter.metrics import models
from ml_exporter.metrics.families import Families
from ml_exporter.profile import Profile, load
from ml_exporter.profile_build import build
from ml_exporter.profile_data import Rows

N = 3_000
EVERY = 10.0
"""Seconds between two rows."""


def features(row: int, rng: np.random.Generator) -> dict[str, Any]:
    hour = row * EVERY / 3_600
    return {
        "steady": round(float(rng.normal()), 4),
        "season": round(float(rng.normal() + 4 * np.sin(hour)), 4),
        "few": int(rng.integers(0, 4)),
        "place": str(rng.choice(["here", "there", "far"], p=[0.6, 0.395, 0.005])),
    }


def write(site: Site, rows: int = N, versions: tuple[str, ...] = ("1",)) -> None:
    rng = np.random.default_rng(3)
    scores = rng.beta(2, 3, rows).round(4).tolist()
    site.predict(
        *(
            prediction(
                row, row * EVERY, score, features=features(row, rng), version=versions[row % len(versions)]
            )
            for row, score in enumerate(scores)
        )
    )
    site.label(
        *(
            label(row, row * EVERY + 1, bool(rng.random() < score))
            for row, score in enumerate(scores)
            if row % 3
        )
    )


def made_site(folder: Path) -> Site:
    return Site(folder, [model(profile="profile.json", windows=["10m", "30m", "2d"], alert_window="30m")])


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return made_site(tmp_path)


def log(site: Site) -> Path:
    return site.folder / "flight-delay-predictions.jsonl"


def configured(site: Site) -> Model:
    return site.config().models[0]


def run(site: Site, *flags: str, code: int = 0) -> Profile:
    site.config()
    command = ["profile", "--config.file", str(site.config_path), "--model", "flight-delay", *flags]
    assert main([*command, str(log(site))]) == code
    return load(site.folder / "profile.json")


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> tuple[Profile, Profile]:
    site = made_site(tmp_path_factory.mktemp("many"))
    write(site)
    own = configured(site)
    return build(own, Rows(own, [log(site)])), build(own, Rows(own, [log(site)], block=700))


class TestManyRows:
    """Rows that do not fit into a block are counted as if they did."""

    def test_categories_are_counted_alike(self, both: tuple[Profile, Profile]) -> None:
        whole, parts = both
        assert (whole.rows, whole.labelled, whole.first, whole.last) == (
            parts.rows,
            parts.labelled,
            parts.first,
            parts.last,
        )
        for name in ("place", "prediction", "label"):
            one, other = whole.columns[name], parts.columns[name]
            assert one.model_copy(update={"losses": ()}) == other.model_copy(update={"losses": ()})

    def test_numbers_are_cut_nearly_alike_and_none_is_lost(self, both: tuple[Profile, Profile]) -> None:
        whole, parts = both
        for name in ("steady", "season", "few", "score"):
            one, other = whole.columns[name], parts.columns[name]
            assert one.kind == other.kind == "numeric"
            assert sum(one.counts) == sum(other.counts) == N
            assert (one.minimum, one.maximum) == (other.minimum, other.maximum)
            assert one.mean == pytest.approx(other.mean, rel=1e-8)
            assert one.deviation == pytest.approx(other.deviation, rel=1e-8)
            # The ends are those of all rows: nothing lies in the bins outside.
            assert other.counts[0] == other.counts[-1] == 0
            # A tenth of 700 rows is a tenth of all but for 3.5 standard errors.
            groups = np.bincount(other.groups, other.counts)
            if name != "few":
                assert np.abs(groups / N - 0.1).max() < 3.5 * (0.1 * 0.9 / 700) ** 0.5

    def test_what_chunks_show_is_that_of_all_rows(self, both: tuple[Profile, Profile]) -> None:
        for method in ("psi", "cramers_v"):
            one, other = (profile.columns["place"].noise[method] for profile in both)
            assert one == other
        chunks = [profile.columns["steady"].noise["wasserstein"].chunks["10m"] for profile in both]
        assert chunks[0] == pytest.approx(chunks[1], rel=0.05)

    def test_quality_is_that_of_some_rows_and_says_of_how_many(self, both: tuple[Profile, Profile]) -> None:
        whole, parts = both
        assert whole.quality["accuracy"].n == whole.labelled
        assert 600 < parts.quality["accuracy"].n < 800
        lower, upper = (parts.quality["accuracy"].lower, parts.quality["accuracy"].upper)
        assert lower is not None
        assert upper is not None
        assert lower < whole.quality["accuracy"].value < upper


def test_lines_and_values_that_do_not_fit_are_neither_rows_nor_missing(site: Site) -> None:
    write(site, 600)
    site.models[0]["columns"] = {"steady": {"kind": "numeric"}}
    clean = run(site)
    site.predict(prediction("a", 1, features={"steady": "much", "season": None, "few": 1, "place": "here"}))
    with log(site).open("a") as file:
        file.write('{"id": "cut\n')
    found = run(site)
    assert found.rows == clean.rows + 1
    for name, missing in (("steady", 0), ("season", 1), ("few", 0), ("place", 0)):
        one, other = clean.columns[name], found.columns[name]
        assert other.missing == missing
        assert sum(other.counts) == sum(one.counts) + (name in ("few", "place"))


class TestTrainedAt:
    def test_a_time_is_that_of_the_only_version(self, site: Site, capsys: pytest.CaptureFixture[str]) -> None:
        write(site)
        found = run(site, "--trained-at", stamp(-3_600))
        assert dict(found.trained_at) == {"1": "2023-11-14T21:14:00Z"}
        assert "older than" not in capsys.readouterr().out
        families = Families()
        models.collect(families, configured(site), load_layouts(site.config())["flight-delay"])
        (family,) = (item for item in families.collect() if item.name == "ml_model_trained_timestamp_seconds")
        assert [(sample.labels, sample.value) for sample in family.samples] == [
            ({"model": "flight-delay", "version": "1"}, START - 3_600)
        ]

    def test_rows_that_a_version_was_trained_on_are_told(
        self, site: Site, capsys: pytest.CaptureFixture[str]
    ) -> None:
        site.models[0].pop("champion")
        write(site, versions=("1", "2"))
        run(site, "--trained-at", f"2={stamp(1_000 * EVERY)}", "--trained-at", f"1={stamp(0)}")
        text = " ".join(capsys.readouterr().out.split())
        assert "warning: 500 rows of version 2 are older than 2023-11-15T01:00:40Z" in text
        assert "version 1 are older" not in text

    def test_of_several_versions_it_has_to_be_said_which(
        self, site: Site, capsys: pytest.CaptureFixture[str]
    ) -> None:
        site.models[0].pop("champion")
        write(site, versions=("1", "2"))
        site.config()
        command = ["profile", "--config.file", str(site.config_path), "--model", "flight-delay"]
        assert main([*command, "--trained-at", stamp(0), str(log(site))]) == 1
        assert "the data have versions 1, 2; write VERSION=TIME for each" in capsys.readouterr().err


def test_what_was_seen_is_told(
    site: Site, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "300")
    write(site)
    found = run(site)
    text = capsys.readouterr().out
    for name, column in found.columns.items():
        (line,) = (line for line in text.splitlines() if f" {name} " in line.partition("│")[2][:40])
        assert column.kind in line
    assert f"30m: psi {found.columns['place'].noise['psi'].limits['30m']:.2g}" in text
    assert "window 2d: the reference has only 0 stretches of its length, fewer than 10" in text
    (season,) = (line for line in text.splitlines() if "follow the season" in line and "10m" in line)
    assert "season: season. Half of" in season
    assert f"{found.labelled} rows labelled" in text


class TestSuggestedLimits:
    def test_they_are_above_whatever_a_stretch_of_the_reference_shows(self, site: Site) -> None:
        write(site)
        found = run(site)
        for column in found.columns.values():
            for noise in column.noise.values():
                assert set(noise.limits) == set(noise.chunks) >= {"30m"}
                assert all(noise.limits[window] > noise.chunks[window] > 0 for window in noise.chunks)

    def test_auto_takes_those_that_are_not_configured(self, site: Site) -> None:
        write(site)
        found = run(site)
        site.models[0]["drift"] = {"limits": "auto", "columns": {"steady": {"psi": {"max": 0.7}}}}
        families = Families()
        models.collect(families, configured(site), load_layouts(site.config())["flight-delay"])
        (family,) = (item for item in families.collect() if item.name == "ml_drift_limit")
        limits = {
            (sample.labels["column"], sample.labels["method"]): sample.value for sample in family.samples
        }
        assert limits == {
            (name, method): 0.7 if (name, method) == ("steady", "psi") else noise.limits["30m"]
            for name, column in found.columns.items()
            for method, noise in column.noise.items()
        }
        assert {sample.labels["window"] for sample in family.samples} == {"30m"}

    def test_a_short_reference_suggests_none(self, site: Site) -> None:
        write(site, 400)
        run(site)
        site.models[0]["drift"] = {"limits": "auto"}
        families = Families()
        models.collect(families, configured(site), load_layouts(site.config())["flight-delay"])
        assert not [item for item in families.collect() if item.name == "ml_drift_limit"]


def test_a_profile_is_json_that_people_can_read(site: Site) -> None:
    write(site, 400)
    run(site)
    text = (site.folder / "profile.json").read_text()
    assert json.loads(text)["columns"]["place"]["categories"] == ["here", "there"]
    assert max(map(len, text.splitlines())) < 1_500


class TestCompare:
    """The drift between two references: profiles, data, or one of each."""

    def site(self, folder: Path, name: str, shift: float, seed: int, **drift: object) -> Site:
        """Data of their own, and a profile of them; `steady` and the categories are shifted."""
        own = folder / name
        own.mkdir()
        site = made_site(own)
        site.models[0]["drift"] = drift
        rng = np.random.default_rng(seed)
        for row in range(2_000):
            place = "here" if rng.random() < 0.7 - 0.1 * shift else "there"
            values = {"steady": round(float(rng.normal(shift)), 4), "place": place, "same": row % 7}
            site.predict(prediction(row, row * EVERY, round(float(rng.beta(2, 3)), 4), features=values))
        run(site)
        return site

    def compared(self, *flags: str) -> int:
        return main(["profile", "--compare", *flags])

    def test_two_profiles_need_no_configuration(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        one, other = self.site(tmp_path, "a", 0, 1), self.site(tmp_path, "b", 0, 2)
        moved = self.site(tmp_path, "c", 1, 3)
        first, second, third = (str(site.folder / "profile.json") for site in (one, other, moved))
        assert self.compared(first, first) == 0
        assert self.compared(first, second) == 0
        assert "no column is above its limits" in capsys.readouterr().out
        assert self.compared(first, third) == 1
        text = capsys.readouterr().out
        assert "above the limits: steady" in text
        # Profiles say of their bins what the data say of the values, but for the bins that an edge cuts.
        config = ["--config.file", str(moved.config_path), "--model", "flight-delay"]
        assert self.compared(first, str(log(moved)), *config, "--limit", "psi=0.2") == 1
        exact = capsys.readouterr().out
        values = [
            {
                line.split("│")[1].strip(): float(line.split("│")[3])
                for line in out.splitlines()
                if " psi " in line
            }
            for out in (text, exact)
        ]
        assert values[0].keys() == values[1].keys() == {"steady", "place", "same", "score", "prediction"}
        assert values[1]["steady"] > 0.7
        for name in values[0]:
            assert values[0][name] == pytest.approx(values[1][name], rel=0.1, abs=0.01)

    def test_data_are_compared_in_the_cells_of_the_first(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        one, moved = self.site(tmp_path, "a", 0, 1), self.site(tmp_path, "b", 1, 2)
        config = ["--config.file", str(one.config_path), "--model", "flight-delay"]
        outs = []
        capsys.readouterr()
        for first in (str(log(one)), str(one.folder / "profile.json")):
            assert self.compared(first, str(log(one)), *config) == 0
            outs.append(capsys.readouterr().out)
            assert self.compared(first, str(log(moved)), *config) == 1
            outs.append(capsys.readouterr().out)
        assert outs[1].splitlines()[1:] == outs[3].splitlines()[1:]
        assert {line.split("│")[3].strip() for line in outs[0].splitlines() if " psi " in line} == {"0"}

    def test_limits_are_given_or_configured(self, tmp_path: Path) -> None:
        one = self.site(tmp_path, "a", 0, 1, columns={"steady": {"psi": {"max": 9}}}, psi={"max": 0.3})
        moved = self.site(tmp_path, "b", 1, 2)
        pair = (str(one.folder / "profile.json"), str(moved.folder / "profile.json"))
        config = ["--config.file", str(one.config_path), "--model", "flight-delay"]
        assert self.compared(*pair) == 1
        assert self.compared(*pair, *config) == 0
        assert self.compared(*pair, *config, "--limit", "wasserstein=0.5") == 1
        assert self.compared(*pair, *config, "--limit", "wasserstein=2", "--limit", "psi=9") == 0

    def test_a_column_that_is_gone_is_above_every_limit(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        one = self.site(tmp_path, "a", 0, 1)
        path = one.folder / "profile.json"
        content = json.loads(path.read_text())
        content["columns"]["new"] = content["columns"].pop("same")
        other = tmp_path / "other.json"
        other.write_text(json.dumps(content))
        assert self.compared(str(path), str(other)) == 1
        text = " ".join(capsys.readouterr().out.split())
        assert "is not in the" in text
        assert "above the limits: same" in text
        assert "only in the second one: new" in text

    @pytest.mark.parametrize(
        "flags",
        [
            ["a.jsonl", "b.jsonl"],
            ["a.json", "b.json", "--config.file", "c.yml"],
            ["a.json", "b.json", "--limit", "psi"],
            ["a.json", "b.json", "--limit", "distance=1"],
            ["a.json", "b.json", "--limit", "psi=-1"],
            ["a.json", "b.json", "--output", "c.json"],
            ["a.json"],
        ],
    )
    def test_wrong_usage_is_2(self, flags: list[str]) -> None:
        with pytest.raises(SystemExit) as ended:
            self.compared(*flags)
        assert ended.value.code == 2


def test_thin_traffic_is_told_where_stretches_are_enough_and_rows_too_few(
    site: Site, capsys: pytest.CaptureFixture[str]
) -> None:
    site.predict(*(prediction(row, 60.0 * row, features={"amount": row % 17}) for row in range(300)))
    run(site)
    text = " ".join(capsys.readouterr().out.split())
    assert (
        "window 10m: fewer than 10 of the reference's stretches of its length have 50 rows of any column"
        in text
    )
