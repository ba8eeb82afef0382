"""`ml_exporter profile --compare`: what two references tell of each other, and what they cannot."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from tests.support.site import Site, model, prediction

from ml_exporter.cli import main
from ml_exporter.drift import comparison
from ml_exporter.layout import Cells, Layout
from ml_exporter.profile import CategoricalColumn, NumericColumn, Profile, load, save
from ml_exporter.profile_bins import numeric
from ml_exporter.profile_cells import Counts, rebinned, renamed
from ml_exporter.stats.distance import METHODS

Numbers = NDArray[np.float64]
Draw = Callable[[np.random.Generator, int], Numbers]
LIMITS = {"psi": 0.2, "wasserstein": 0.1}


def mixed(value: float, share: float, rest: Draw) -> Draw:
    """One heavy value in others."""
    return lambda rng, n: np.where(rng.random(n) < share, value, rest(rng, n))


def heaped(rng: np.random.Generator, n: int) -> Numbers:
    """Ages of which most are told in fives: values that are and that are not heavier than a bin."""
    ages = np.clip(rng.normal(45, 15, n), 18, 90)
    return np.where(rng.random(n) < 0.8, np.round(ages / 5) * 5, np.round(ages, 1))


def priced(values: int) -> Draw:
    """So many prices, and a few between them."""
    places = np.arange(1, values + 1) * 10 - 0.01
    return lambda rng, n: np.where(
        rng.random(n) < 0.9, rng.choice(places, n), rng.uniform(0, 10 * values, n).round(2)
    )


DRAWS: dict[str, Draw] = {
    "normal": lambda rng, n: rng.normal(size=n),
    "lognormal": lambda rng, n: rng.lognormal(3, 1, n),
    "exponential": lambda rng, n: rng.exponential(300, n),
    "zeros": mixed(0.0, 0.7, lambda rng, n: rng.lognormal(3, 1, n)),
    "half zeros": mixed(0.0, 0.5, lambda rng, n: rng.lognormal(3, 1, n).round()),
    "hardly anything but zeros": mixed(0.0, 0.95, lambda rng, n: rng.lognormal(3, 0.5, n)),
    "in the middle": mixed(5.0, 0.3, lambda rng, n: rng.normal(5, 1, n)),
    "far out": mixed(100.0, 0.3, lambda rng, n: rng.normal(0, 30, n)),
    "on an edge": mixed(100.0, 0.7, lambda rng, n: rng.normal(100, 1, n)),
    "hardly heavier than a bin": mixed(6.5, 0.06, lambda rng, n: rng.normal(5, 1, n)),
    "capped": lambda rng, n: np.clip(rng.normal(size=n), -1, 1),
    "few whole numbers": lambda rng, n: rng.integers(0, 10, n).astype(float),
    "whole numbers": lambda rng, n: rng.poisson(100, n).astype(float),
    "heavy whole numbers": mixed(7.0, 0.3, lambda rng, n: rng.integers(0, 100, n).astype(float)),
    "geometric": lambda rng, n: rng.geometric(1 / 30, n).astype(float),
    "codes for missing": mixed(-999.0, 0.15, mixed(9999.0, 0.1, lambda rng, n: rng.normal(50, 10, n))),
    "time stamps": lambda rng, n: (
        1.7e9 + np.where(rng.random(n) < 0.5, 0, rng.exponential(86_400, n).round())
    ),
    "heaped": heaped,
    "8 prices": priced(8),
    "20 prices": priced(20),
    "30 prices": priced(30),
}


def column(values: Numbers) -> NumericColumn:
    made = numeric(values, np.zeros(values.size, np.bool_), fenced=True)
    assert not isinstance(made, str)
    return made[0]


def counted(own: NumericColumn, values: Numbers) -> Counts:
    """What the rows themselves tell."""
    cells = Cells("", own, 0)
    return np.bincount(cells.numeric_codes(values, None), minlength=cells.bins)


def distances(own: NumericColumn | CategoricalColumn, counts: Counts) -> dict[str, float]:
    rows = np.rint(counts).astype(np.int64)
    methods = [METHODS[name] for name in LIMITS if own.kind in METHODS[name].kinds]
    return {method.name: float(method.function(comparison(own, method, rows))) for method in methods}


def above(values: dict[str, float]) -> set[str]:
    return {method for method, value in values.items() if value > LIMITS[method]}


class TestBins:
    """A profile's bins in those of another one."""

    @pytest.mark.parametrize("name", DRAWS)
    @pytest.mark.parametrize("sizes", [(20_000, 2_000), (5_000, 5_000), (2_000, 20_000)])
    def test_samples_of_one_distribution_are_no_drift(self, name: str, sizes: tuple[int, int]) -> None:
        for seed in range(4):
            rng = np.random.default_rng([seed, *sizes])
            one, other = (column(DRAWS[name](rng, n)) for n in sizes)
            for first, second in ((one, other), (other, one)):
                assert not above(distances(first, rebinned(first, second)))

    @pytest.mark.parametrize("name", [name for name in DRAWS if name != "hardly anything but zeros"])
    def test_half_a_deviation_is_found_as_by_rows(self, name: str) -> None:
        """Where nearly all is 0, the next larger value is further away than that, and rows cannot tell either."""
        for seed in range(4):
            rng = np.random.default_rng(seed)
            values, others = (DRAWS[name](rng, 5_000) for _ in range(2))
            shift = values.std() / 2 if np.any(values % 1) else np.ceil(values.std() / 2)
            own = column(values)
            for moved in (others + shift, others - shift):
                rows = distances(own, counted(own, moved))
                bins = distances(own, rebinned(own, column(moved)))
                assert min(rows["wasserstein"], bins["wasserstein"]) > LIMITS["wasserstein"]
                assert bins["psi"] > LIMITS["psi"] or rows["psi"] < 1.2 * LIMITS["psi"]

    def test_every_row_is_in_one_bin(self) -> None:
        rng = np.random.default_rng(1)
        own, other = (column(DRAWS["zeros"](rng, n)) for n in (3_000, 4_001))
        counts = rebinned(own, other.model_copy(update={"missing": 17}))
        assert counts.shape == (own.size + 1,)
        assert counts.min() >= 0
        assert counts[:-1].sum() == pytest.approx(4_001)
        assert counts[-1] == 17
        np.testing.assert_allclose(rebinned(own, own), [*own.counts, own.missing], atol=1e-3)

    @pytest.mark.parametrize("value", [0.0, 1 / 3, -1e9, 1.7e9])
    def test_a_constant_stays_where_it_is(self, value: float) -> None:
        own, other = (column(np.full(n, value)) for n in (50, 70))
        assert max(distances(own, rebinned(own, other)).values()) < 0.05

    @pytest.mark.parametrize(("value", "least", "most"), [(0.0, 850, 1_000), (4.0, 0, 460), (-2.0, 0, 667)])
    def test_a_heavy_value_lies_where_its_bins_mean_can_be(self, value: float, least: int, most: int) -> None:
        """Its wide bin has that of 0 in the middle, from -0.5 to 0.5, and reaches from -2 to 6 or from -5 to 3.

        With 4 for the mean at most 46 % of the rows can be there, and 67 % with -2.
        """
        near, far = (np.linspace(start, 20, 300) for start in (1, 8))
        own = column(np.concatenate([np.zeros(1_000), near, -near]))
        counts = rebinned(own, column(np.concatenate([np.full(1_000, value), far, -far])))
        assert least <= counts[np.argmax(own.counts)] <= most


class TestRareCategories:
    """Of rare categories a profile has the names, and only together their rows."""

    def column(self, names: NDArray[Any]) -> CategoricalColumn:
        found, counts = np.unique(names, return_counts=True)
        often = counts >= 0.01 * names.size
        return CategoricalColumn(
            kind="categorical",
            categories=tuple(map(str, found[often])),
            rare=tuple(map(str, found[~often])),
            counts=(*counts[often].tolist(), int(counts[~often].sum()), 0),
            missing=0,
        )

    def layout(self, first: CategoricalColumn) -> Layout:
        return Layout(Profile.model_construct(columns={"c": first}, joint=None, estimation=None))

    def values(self, first: CategoricalColumn, second: CategoricalColumn) -> dict[str, float]:
        counts = renamed(self.layout(first), "c", first, second)
        assert counts.sum() == pytest.approx(sum(second.counts))
        return distances(first, counts)

    def told_by_rows(self, first: CategoricalColumn, names: NDArray[Any]) -> dict[str, float]:
        codes = self.layout(first).category_codes("c", list(map(str, names)))[:-2]
        return distances(first, np.bincount(codes, minlength=first.size + 1))

    def test_samples_of_one_distribution_are_no_further_than_their_rows(self) -> None:
        for seed in range(6):
            for power in (1.0, 1.3, 1.6, 2.0):
                rng = np.random.default_rng([seed, int(10 * power)])
                weights = np.arange(1, 800) ** -power
                one, other = (rng.choice(799, n, p=weights / weights.sum()) for n in (2_000, 3_000))
                for first, second in ((one, other), (other, one)):
                    own = self.column(first)
                    rows = self.told_by_rows(own, second)
                    assert self.values(own, self.column(second))["psi"] < rows["psi"] + 0.02

    def test_new_names_are_found_though_all_are_rare(self) -> None:
        rng = np.random.default_rng(1)
        one = self.column(rng.integers(0, 300, 5_000))
        assert above(self.values(one, self.column(rng.integers(290, 590, 5_000)))) == {"psi"}
        assert above(self.values(one, self.column(rng.integers(300, 600, 5_000)))) == {"psi"}


NAME = "flight-delay"


class TestCommand:
    """The command on small logs, its exit code and what it prints."""

    @pytest.fixture(autouse=True)
    def _wide(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("COLUMNS", "300")

    @pytest.fixture
    def site(self, tmp_path: Path) -> Site:
        return self.made(tmp_path)

    def made(self, folder: Path, **more: Any) -> Site:
        own = model(profile="profile.json", windows=["10m"], alert_window="10m", **more)
        own["predictions"]["fields"]["label"] = "label"
        del own["labels"]
        return Site(folder, [own])

    def write(self, site: Site, name: str, seed: int, rows: int = 1_500, **more: Any) -> Path:
        """A log; `more` are features as functions of a generator and those before them, None to leave one out."""
        rng = np.random.default_rng(seed)
        for row in range(rows):
            features: dict[str, Any] = {
                "amount": 0.0 if rng.random() < 0.7 else round(float(rng.lognormal(3, 1)), 2),
                "place": str(rng.choice(["here", "there"])),
                "x": round(float(rng.normal()), 4),
            }
            features["y"] = round(0.8 * features["x"] + 0.6 * float(rng.normal()), 4)
            features["e"] = rng.normal(size=4).round(3).tolist()
            own = {key: value(rng, features) for key, value in more.items() if key != "label"}
            score = round(float(rng.beta(2, 3)), 4)
            known = {"label": bool(rng.random() < score)} if more.get("label", True) else {}
            site.predict(prediction(row, row * 2.0, score, features=features | own, **known), name=name)
        return site.folder / f"{name}-predictions.jsonl"

    def profiled(self, site: Site, log: Path) -> str:
        output = log.with_suffix(".json")
        assert main(["profile", *self.configured(site), "--output", str(output), str(log)]) == 0
        return str(output)

    def configured(self, site: Site) -> list[str]:
        site.config()
        return ["--config.file", str(site.config_path), "--model", NAME]

    def compared(self, capsys: pytest.CaptureFixture[str], *flags: str) -> tuple[int, list[str]]:
        capsys.readouterr()
        code = main(["profile", "--compare", *flags])
        return code, capsys.readouterr().out.splitlines()

    def said(self, lines: list[str], column: str, method: str = "") -> list[str]:
        """The cells of a row: value, limit, noise, rows, and what is said of it."""
        rows = ([cell.strip() for cell in line.split("\u2502")[1:-1]] for line in lines)
        (found,) = (cells[2:] for cells in rows if cells[:2] == [column, method])
        return found

    def test_heavy_values_are_no_drift_between_profiles(
        self, site: Site, capsys: pytest.CaptureFixture[str]
    ) -> None:
        one, other = self.write(site, "a", 1), self.write(site, "b", 2)
        moved = self.write(site, "c", 3, amount=lambda _, features: features["amount"] + 12)
        first, second, third = (self.profiled(site, log) for log in (one, other, moved))
        limits = ["--limit", "psi=0.2", "--limit", "wasserstein=0.1"]
        for pair in ((first, second), (second, first)):
            assert self.compared(capsys, *pair, *limits)[0] == 0
        for last in (third, str(moved)):
            code, lines = self.compared(capsys, first, last, *limits, *self.configured(site))
            assert code == 1
            assert lines[-1] == "above the limits: amount"

    def test_what_cannot_be_judged_is_not_fine(self, site: Site, capsys: pytest.CaptureFixture[str]) -> None:
        first = self.profiled(site, self.write(site, "a", 1))
        few = str(self.write(site, "few", 2, rows=5))
        code, lines = self.compared(capsys, first, few, *self.configured(site))
        assert code == 1
        assert self.said(lines, "amount", "psi") == ["", "0.2", "", "5", "not judged: too few rows"]
        assert self.said(lines, "amount", "wasserstein")[-1] == "not compared: too few rows"
        assert lines[-1] == "not judged: amount, place, x, y, e, score, prediction, label"
        assert "no column is above its limits" not in lines
        # Without a limit nobody wants to know.
        assert self.compared(capsys, first, few, "--limit", "pca=9", *self.configured(site))[1][-1] == (
            "not judged: columns together"
        )

    def test_another_kind_is_told(self, site: Site, capsys: pytest.CaptureFixture[str]) -> None:
        first = self.profiled(site, self.write(site, "a", 1))
        turned = self.write(
            site, "b", 2, x=lambda rng, _: str(rng.choice(["low", "high"])), e=lambda *_: "none"
        )
        code, lines = self.compared(capsys, first, str(turned), *self.configured(site))
        assert code == 1
        assert self.said(lines, "x")[-1] == "is not numeric in the second one"
        assert self.said(lines, "e")[-1] == "is not embedding in the second one"
        assert lines[-1] == "above the limits: x, e"
        code, lines = self.compared(capsys, first, self.profiled(site, turned))
        assert code == 1
        assert self.said(lines, "x")[-1] == "is categorical in the second one"
        assert self.said(lines, "e")[-1] == "is categorical in the second one"

    def test_data_without_labels_are_compared_all_the_same(
        self, site: Site, capsys: pytest.CaptureFixture[str]
    ) -> None:
        first = self.profiled(site, self.write(site, "a", 1))
        new = self.write(site, "b", 2, label=False)
        for second in (str(new), self.profiled(site, new)):
            code, lines = self.compared(capsys, first, second, *self.configured(site))
            assert code == 0
            assert self.said(lines, "label")[-1] == "not compared: the second one has none"
            assert lines[-2:] == ["not compared: label, columns together", "no column is above its limits"]

    def test_vectors_that_turn_are_found_by_their_mean(
        self, site: Site, capsys: pytest.CaptureFixture[str]
    ) -> None:
        first = self.profiled(site, self.write(site, "a", 1))
        same = self.write(site, "b", 2)
        turned = self.write(site, "c", 3, e=lambda _, features: [abs(features["e"][0]), *features["e"][1:]])
        for log, expected in ((same, 0), (turned, 1)):
            found = []
            for second in (str(log), self.profiled(site, log)):
                code, lines = self.compared(
                    capsys, first, second, "--limit", "centroid=0.2", *self.configured(site)
                )
                assert code == expected
                found.append(self.said(lines, "e", "centroid"))
                assert self.said(lines, "e", "psi")[-1] == ""
            value, limit, noise, rows, verdict = found[0]
            assert (limit, rows, verdict) == ("0.2", "1500", "above" if expected else "")
            assert 0 < float(noise) < 0.2
            # The mean of half a normal distribution, of which four make the deviation.
            assert float(value) == pytest.approx((2 / np.pi) ** 0.5 / 2 if expected else 0, abs=0.1)
            assert found[1][0] == pytest.approx(value) or float(found[1][0]) == pytest.approx(
                float(value), rel=1e-3
            )

    def test_vectors_of_another_length_are_others(
        self, site: Site, capsys: pytest.CaptureFixture[str]
    ) -> None:
        first = self.profiled(site, self.write(site, "a", 1))
        longer = self.write(site, "b", 2, e=lambda rng, _: rng.normal(size=5).round(3).tolist())
        for second in (str(longer), self.profiled(site, longer)):
            code, lines = self.compared(capsys, first, second, *self.configured(site))
            assert code == 1
            said = self.said(lines, "e", "centroid")[-1]
            assert said == "vectors have 5 numbers in the second one, 4 in the first"

    def test_a_relation_that_turns_round_is_found_in_data(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        site = self.made(tmp_path, multivariate={"correlation_max": {"max": 0.3}})
        first = self.profiled(site, self.write(site, "a", 1))
        same = self.write(site, "b", 2)
        turned = self.write(site, "c", 3, y=lambda _, features: -features["y"])
        code, lines = self.compared(capsys, first, str(same), *self.configured(site))
        assert (code, lines[-1]) == (0, "no column is above its limits")
        code, lines = self.compared(capsys, first, str(turned), *self.configured(site))
        assert (code, lines[-1]) == (1, "above the limits: columns together")
        value, limit, noise, rows, verdict = self.said(lines, "columns together", "correlation_max")
        assert (limit, rows, verdict) == ("0.3", "1500", "above")
        # Of 0.8 on both sides, and normal scores lose a little.
        assert float(value) == pytest.approx(1.6, abs=0.1)
        assert 0 < float(noise) < 0.3
        code, lines = self.compared(capsys, first, self.profiled(site, turned), *self.configured(site))
        assert (code, lines[-1]) == (1, "not judged: columns together")
        assert self.said(lines, "columns together")[-1] == "not judged: only data tell, not a profile"
        code, lines = self.compared(capsys, first, self.profiled(site, turned))
        assert (code, lines[-2]) == (0, "not compared: columns together")
        lacking = self.write(site, "d", 4, y=lambda *_: "up")
        _, lines = self.compared(capsys, first, str(lacking), *self.configured(site))
        assert self.said(lines, "columns together")[-1] == "not judged: the second one lacks y"

    def test_files_without_rows_are_told(self, site: Site, capsys: pytest.CaptureFixture[str]) -> None:
        log = self.write(site, "a", 1)
        first = self.profiled(site, log)
        for name, text in (
            ("empty.jsonl", ""),
            ("blank.jsonl", "\n\n"),
            ("empty.csv", ""),
            ("empty.parquet", ""),
        ):
            path = site.folder / name
            path.write_text(text)
            assert main(["profile", "--compare", first, str(path), *self.configured(site)]) == 1
            told = capsys.readouterr().err
            assert f"{path}: has no rows; name log files with predictions" in told
        # A log that was just rotated does not keep the others from being read.
        both = ["--output", str(site.folder / "both.json"), str(site.folder / "empty.jsonl"), str(log)]
        assert main(["profile", *self.configured(site), *both]) == 0
        assert load(site.folder / "both.json").rows == load(Path(first)).rows
        untimed = site.folder / "untimed.jsonl"
        untimed.write_text('{"id": "1", "features": {"x": 1}}\n')
        assert main(["profile", "--compare", first, str(untimed), *self.configured(site)]) == 1
        assert f"{untimed}: has no rows with a time stamp; compare with" in capsys.readouterr().err

    def test_a_feature_that_a_profile_ignores_is_gone(
        self, site: Site, capsys: pytest.CaptureFixture[str]
    ) -> None:
        first = self.profiled(site, self.write(site, "a", 1))
        profile = load(Path(first))
        columns = {name: own for name, own in profile.columns.items() if name != "x"}
        second = site.folder / "second.json"
        save(profile.model_copy(update={"columns": columns, "ignored": {"x": "has no number"}}), second)
        code, lines = self.compared(capsys, first, str(second))
        assert code == 1
        assert self.said(lines, "x")[-1] == "is ignored in the second one: has no number"
