"""What stored counts and waiting rows mean after a change of the configuration or the profile."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn import metrics as reference
from tests.support.made import (
    Rides,
    after,
    fields,
    longest,
    profiled,
    renew,
    site_of,
    values,
    version_of,
    write,
)
from tests.support.site import Site

from ml_exporter.stats.result import Value

N = 200


def rides_with_profile(folder: Path, seed: int, names: tuple[str, ...]) -> Site:
    """A site whose profile has these classes; its logs are empty."""
    site = site_of(folder, "multiclass", fields(score="s"))
    rides = Rides(N, seed, names)
    write(site, rides.columns(), rides.labels())
    profiled(site)
    renew(site)
    return site


def counted(site: Site, now: float) -> dict[str, Any]:
    """Counters of the only version, and what is labelled in the longest window."""
    report, state = after(site, now)
    version = version_of(report)
    return {
        "rows": version.inputs.count("rows"),
        "labelled": version.judged.count("labelled"),
        "good": version.judged.count("good"),
        "window": version.windows[-1].quality.labelled,
        "waiting": report.pending,
        "read": version.windows[-1].rows,
        "hours": sum(sums[0] for sums in state.versions["1"].hours.sums.values()),
    }


class TestClasses:
    def test_another_order_of_frequency_changes_nothing(self, tmp_path: Path) -> None:
        """Rows wait with codes of classes and with probabilities in the order of these."""
        site = rides_with_profile(tmp_path, 1, ("car", "bike", "tram"))
        rides = Rides(N, 2)
        write(site, rides.columns(), rides.labels())
        after(site, 55)
        kept = (
            (site.folder / "m-predictions.jsonl").read_bytes(),
            (site.folder / "m-labels.jsonl").read_bytes(),
        )
        site.exporter["state"] = "other.duckdb"
        renew(site)
        again = Rides(N, 3, ("tram", "car", "bike"))
        write(site, again.columns(), again.labels())
        profiled(site)
        for name, data in zip(("predictions", "labels"), kept, strict=True):
            (site.folder / f"m-{name}.jsonl").write_bytes(data)
        site.exporter["state"] = "state.duckdb"
        report, _ = after(site, 200)
        found = values(longest(report))
        truth = rides.truth
        assert longest(report).quality.labelled == N
        assert found["log_loss"] == pytest.approx(reference.log_loss(truth, rides.scores), rel=1e-9)
        assert found["accuracy"] == reference.accuracy_score(truth, rides.chosen)

    def test_other_classes_drop_what_waits_and_keep_the_counters(self, tmp_path: Path) -> None:
        site = rides_with_profile(tmp_path, 1, ("car", "bike"))
        rides = Rides(N, 2, ("car", "bike"))
        write(site, rides.columns(), rides.labels())
        before = counted(site, 80)
        assert 0 < before["waiting"] < N
        site.models[0]["predictions"]["fields"]["score"] = {name: f"s.{name}" for name in ("car", "tram")}
        found = counted(site, 81)
        assert found["waiting"] == found["window"] == 0
        assert {key: found[key] for key in ("rows", "labelled", "good", "read", "hours")} == {
            key: before[key] for key in ("rows", "labelled", "good", "read", "hours")
        }

    def test_fewer_classes_that_are_told_apart_do_not_turn_one_into_another(self, tmp_path: Path) -> None:
        site = site_of(tmp_path, "multiclass", class_limit=2)
        write(site, {"prediction": ["a", "b", "c"] * 20}, ["a", "b", "c"] * 20)
        assert counted(site, 16)["waiting"] == 60
        site.models[0]["class_limit"] = 3
        report, _ = after(site, 120)
        confusion = version_of(report).task.confusion(version_of(report).judged)
        assert confusion is not None
        assert confusion[1].sum() == 0
        write(site, {"prediction": ["a", "c"] * 20}, ["c", "c"] * 20, first=120, start=60)
        version = version_of(after(site, 400)[0])
        names, table = version.task.confusion(version.judged) or ((), np.zeros((0, 0)))
        assert table.sum() == 40
        assert {(names[i], names[j]): n for (i, j), n in np.ndenumerate(table) if n} == {
            ("c", "a"): 20,
            ("c", "c"): 20,
        }


class TestTask:
    def test_another_one_keeps_what_was_counted_of_predictions(self, tmp_path: Path) -> None:
        site = site_of(tmp_path, "regression", slo={"objective": 0.95, "tolerance": 1.0})
        write(site, {"prediction": [1] * N}, [1] * N)
        before = counted(site, 80)
        assert 0 < before["labelled"] == before["good"] < N
        site.models[0] |= {"task": "binary", "slo": {"objective": 0.95}}
        found = counted(site, 81)
        # Waiting labels are numbers for one, codes for the other.
        assert found == {**before, "waiting": 0, "window": 0, "hours": found["hours"]}
        write(site, {"prediction": [True] * 40}, [True] * 40, first=100, start=N)
        later = counted(site, 300)
        assert (later["labelled"], later["window"]) == (before["labelled"] + 40, 40)

    def test_top_k_keeps_the_counters(self, tmp_path: Path) -> None:
        site = rides_with_profile(tmp_path, 1, ("car", "bike", "tram"))
        rides = Rides(N, 2)
        write(site, rides.columns(), rides.labels())
        before = counted(site, 80)
        site.models[0]["top_k"] = 2
        assert counted(site, 80) == {**before, "window": 0}
        report, _ = after(site, 200)
        top = longest(report).quality.metrics["top_k_accuracy"]
        assert isinstance(top, Value)
        rest = slice(before["labelled"], None)
        hits = reference.top_k_accuracy_score(rides.truth[rest], rides.scores[rest], k=2)
        assert (top.value, top.n) == (pytest.approx(hits), N - before["labelled"])

    def test_another_positive_class_does_not_mix_with_the_first(self, tmp_path: Path) -> None:
        site = site_of(tmp_path, "binary", fields(score=...), positive="yes")
        write(site, {"prediction": ["yes"] * N}, ["yes"] * N)
        assert values(longest(after(site, 115)[0]))["predicted_positive_rate"] == 1.0
        site.models[0]["positive"] = "no"
        write(site, {"prediction": ["yes"] * N}, ["no"] * N, first=120, start=N)
        report, _ = after(site, 300)
        assert longest(report).quality.labelled == N
        assert values(longest(report))["predicted_positive_rate"] == 0.0
        assert version_of(report).judged.count("labelled") == 2 * N

    def test_the_centre_of_another_profile_does_not_mix_with_that_of_the_first(self, tmp_path: Path) -> None:
        """Sums of labels are kept around their mean in the profile."""
        site = site_of(tmp_path, "regression")
        draw = np.random.default_rng(5)
        truth = draw.normal(1_000.0, 1.0, N)
        write(site, {"prediction": (truth + draw.normal(0, 0.5, N)).tolist()}, truth.tolist())
        report, _ = after(site, 115)
        plain = values(longest(report))["r2_score"]
        site.exporter["state"] = "other.duckdb"
        profiled(site)
        site.exporter["state"] = "state.duckdb"
        assert "r2_score" not in values(longest(after(site, 112)[0]))
        more = draw.normal(1_000.0, 1.0, N)
        predicted = more + draw.normal(0, 0.5, N)
        write(site, {"prediction": predicted.tolist()}, more.tolist(), first=120, start=N)
        report, _ = after(site, 300)
        assert values(longest(report))["r2_score"] == pytest.approx(
            reference.r2_score(more, predicted), rel=1e-6
        )
        assert plain == pytest.approx(0.75, abs=0.15)


class TestSegments:
    def rows(self, site: Site, now: float) -> dict[tuple[str, str], int]:
        report, _ = after(site, now)
        return {(part.segment, part.value): part.rows for part in longest(report).quality.segments}

    @pytest.fixture
    def site(self, tmp_path: Path) -> Site:
        site = site_of(
            tmp_path,
            "binary",
            segments=["size", "colour"],
            segment_limit=20,
            quality={"accuracy": {"min": 0.5}, "roc_auc": {"min": 0.5}},
        )
        sizes, colours = [f"s{n % 12}" for n in range(120)], [["red", "blue"][n % 2] for n in range(120)]
        features = [{"size": size, "colour": colour} for size, colour in zip(sizes, colours, strict=True)]
        scores = [0.2 + 0.6 * (n % 3 == 0) for n in range(120)]
        columns = {"features": features, "score": scores, "prediction": [score > 0.5 for score in scores]}
        write(site, columns, [n % 4 == 0 for n in range(120)])
        after(site, 32)
        return site

    def test_in_another_order_and_with_others_waiting_rows_have_their_own(self, site: Site) -> None:
        site.models[0]["segments"] = ["shape", "colour"]
        assert self.rows(site, 120) == {
            ("shape", "missing"): 120,
            ("colour", "red"): 60,
            ("colour", "blue"): 60,
        }

    def test_with_fewer_values_the_rest_of_the_waiting_rows_are_other(self, site: Site) -> None:
        site.models[0]["segment_limit"] = 3
        found = self.rows(site, 120)
        assert {key: n for key, n in found.items() if key[0] == "size"} == {
            ("size", "s0"): 10,
            ("size", "s1"): 10,
            ("size", "s10"): 10,
            ("size", "other"): 90,
        }

    def test_removed_and_added_again(self, site: Site) -> None:
        site.models[0]["segments"] = []
        after(site, 33)
        site.models[0]["segments"] = ["colour"]
        assert self.rows(site, 120) == {("colour", "missing"): 120}

    def test_ranked_from_now_on_only(self, site: Site) -> None:
        """The bins of segments' scores are more numbers in every stored pane."""
        before = longest(after(site, 75)[0]).quality.labelled
        site.models[0]["segment_roc_auc"] = True
        quality = longest(after(site, 76)[0]).quality
        assert 0 < before < quality.labelled < 120
        assert sum(part.rows for part in quality.segments) == 2 * (quality.labelled - before)
        report, _ = after(site, 120)
        part = next(part for part in longest(report).quality.segments if part.value == "red")
        assert isinstance(part.quality["roc_auc"], Value)


@pytest.mark.parametrize("task", ["binary", "multiclass", "regression"])
def test_a_changed_profile_is_survived_by_every_restart_after_it(tmp_path: Path, task: str) -> None:
    """What depends on it has another length in the store."""
    site = site_of(tmp_path, task, segments=["k"], quality={})
    values_of: dict[str, tuple[list[Any], list[Any]]] = {
        "binary": ([True, False] * 150, [True, True, False] * 100),
        "multiclass": (["a", "b"] * 150, ["a", "a", "b"] * 100),
        "regression": ([1.0, 2.0] * 150, [1.0, 1.5, 2.0] * 100),
    }
    answers, truth = values_of[task]
    more = {"score": [0.5 + 0.01 * (n % 7) for n in range(300)]} if task == "binary" else {}
    write(site, {"prediction": answers, **more}, truth)
    # The classes are named, so that they are the same with the profile.
    if task == "multiclass":
        site.models[0]["predictions"]["fields"]["score"] = {"a": "p.a", "b": "p.b"}
    before = counted(site, 140)
    profiled(site)
    for now in (141, 142):
        found = counted(site, now)
        kept = {key: before[key] for key in ("rows", "labelled", "good", "hours")}
        assert {key: found[key] for key in kept} | {"read": found["read"]} == {**kept, "read": 0}
    # The profile's mean is what sums of numbers are kept around.
    assert found["labelled"] - found["window"] == (0 if task != "regression" else before["labelled"])
    write(site, {"prediction": answers, **more}, truth, first=143, start=300)
    assert counted(site, 300)["read"] == 300


def test_a_failed_cycle_after_a_change_changes_nothing_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = site_of(tmp_path, "binary", segments=["a", "b"], quality={"accuracy": {"min": 0.5}})
    features = [{"a": f"a{n % 3}", "b": f"b{n % 4}"} for n in range(120)]
    columns = {"features": features, "score": [0.75] * 120, "prediction": [True] * 120}
    write(site, columns, [n % 2 == 0 for n in range(120)])
    after(site, 32)
    site.models[0]["segments"] = ["b", "a"]
    site.now = 120
    engine = site.engine()
    with monkeypatch.context() as patch:
        patch.setattr("ml_exporter.pipeline.evaluate", lambda *_: 1 / 0)
        for _ in range(2):
            with pytest.raises(ZeroDivisionError):
                engine.cycle()
    report, _ = engine.cycle().reports[0]
    engine.store.close()
    found = {(part.segment, part.value): part.rows for part in longest(report).quality.segments}
    expected = {("a", f"a{n}"): 40 for n in range(3)} | {("b", f"b{n}"): 30 for n in range(4)}
    assert found == expected
