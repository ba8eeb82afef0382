from __future__ import annotations

import dataclasses
import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.support.site import START, Site, label, model, prediction

from ml_exporter import saved_state
from ml_exporter.config import load
from ml_exporter.engine import Engine, load_layouts, model_layouts
from ml_exporter.profile import Profile
from ml_exporter.profile import load as load_profile
from ml_exporter.state import ModelState
from ml_exporter.store import Store
from ml_exporter.tally import Tally

GOLDEN = Path(__file__).parent / "golden"
DAY = 86_400
KEPT = ("mature", "labelled", "good", "confusion", "scored", "losses", "calibration", "scores")
"""What is counted of judged rows whatever the profile."""


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


def state_after(site: Site, now: float) -> ModelState:
    """The state after one cycle of a fresh process."""
    site.now = now
    engine = site.engine()
    state = engine.cycle().reports[0][1]
    engine.store.close()
    return state


def plain(tally: Tally) -> dict[str, Any]:
    arrays = {name: array.tolist() for name, array in tally.arrays.items()}
    if tally.histogram is not None:
        arrays["scores"] = (tally.histogram.keys.tolist(), tally.histogram.counts.tolist())
    return arrays


def content(state: ModelState) -> dict[str, Any]:
    """Everything that a state knows, comparable."""
    versions = {
        name: {
            "totals": {kind: plain(tally) for kind, tally in version.totals.items()},
            "panes": {
                kind: [{pane: plain(tally) for pane, tally in panes.tallies.items()} for panes in windows]
                for kind, windows in version.panes.items()
            },
            "hours": {hour: sums.tolist() for hour, sums in version.hours.sums.items()},
            "watch": version.watch.document(),
            "times": (version.born, version.newest),
        }
        for name, version in state.versions.items()
    }
    names = (
        "codes",
        "positions",
        "outcomes",
        "truncations",
        "label_outcomes",
        "delay_sum",
        "outside",
        "newest",
    )
    names += ("read_until", "judged_until", "born", "champion", "contender", "pairs")
    return {"versions": versions, "delays": state.delays.tolist()} | {
        name: getattr(state, name) for name in names
    }


def golden(store: Store) -> ModelState:
    config = load(GOLDEN / "config.yml")
    engine = Engine(config, load_layouts(config), store)
    return engine.run_once(None).reports[0][1]


def test_what_is_saved_is_loaded() -> None:
    store = Store(None)
    state = golden(store)
    again = ModelState(state.model, state.layouts)
    assert saved_state.load(again, store, 0)
    assert content(again) == content(state)
    assert len(again.versions) == 2
    assert again.pairs


def test_panes_that_left_their_window_leave_the_store(site: Site) -> None:
    site.predict(*(prediction(number, number) for number in range(60)))
    state_after(site, 60)
    state = state_after(site, 3_000)
    store = Store(site.folder / "state.duckdb")
    assert [key for key, _ in store.panes(0) if key[2] not in ("", "hours")] == []
    assert state.versions["1"].totals["inputs"].count("rows") == 60
    store.close()


class TestMeaning:
    """What survives a change of the configuration."""

    def test_counters_survive_other_windows_and_panes_of_the_same_window_too(self, site: Site) -> None:
        site.predict(*(prediction(number, number, latency_s=1.0) for number in range(60)))
        site.label(*(label(number, number) for number in range(60)))
        before = state_after(site, 130)
        site.models[0]["windows"] = ["5m", "10m", "20m"]
        after = state_after(site, 130)
        assert content(after)["versions"]["1"]["totals"] == content(before)["versions"]["1"]["totals"]
        rows = [
            after.versions["1"].window("inputs", index, after.newest or 0).count("rows") for index in range(3)
        ]
        assert rows == [60, 60, 0]

    def test_a_window_of_another_length_under_the_same_name_starts_anew(self, site: Site) -> None:
        site.models[0] |= {"windows": ["60s", "5m"], "alert_window": "5m"}
        site.predict(*(prediction(number, number) for number in range(60)))
        state_after(site, 60)
        text = site.config_path.read_text(encoding="utf-8")
        store = Store(site.folder / "state.duckdb")
        meaning = store.documents(0)["meaning"]
        assert meaning["windows"] == [["60s", 60.0], ["5m", 300.0]]
        store.save_documents(0, {"meaning": {**meaning, "windows": [["60s", 120.0], ["5m", 300.0]]}})
        store.close()
        after = state_after(site, 60)
        assert json.loads(text)["models"][0]["windows"] == ["60s", "5m"]
        newest = after.newest or 0
        assert [after.versions["1"].window("inputs", index, newest).count("rows") for index in (0, 1)] == [
            0,
            60,
        ]

    def test_a_changed_profile_drops_bins_and_keeps_counters_and_quality(self) -> None:
        store = Store(None)
        state = golden(store)
        config = load(GOLDEN / "config.yml")
        profile = load_profile(GOLDEN / "profile.json")
        columns = {name: column for name, column in profile.columns.items() if name != "age_days"}
        other = profile.model_copy(update={"columns": columns})

        def read(_: Path) -> Profile:
            return other

        changed = ModelState(state.model, model_layouts(config.models[0], read))
        assert saved_state.load(changed, store, 0)
        for name, version in state.versions.items():
            then, now = version.totals["inputs"], changed.versions[name].totals["inputs"]
            for counter in ("rows", "errors", "slow", "latency", "latency_sum"):
                np.testing.assert_array_equal(now[counter], then[counter])
            assert now["cells"].sum() == 0 < then["cells"].sum()
            assert now["cells"].size < then["cells"].size
            assert changed.versions[name].panes["inputs"][2].tallies == {}
            kept, own = (plain(found.versions[name].totals["judged"]) for found in (changed, state))
            assert {part: kept[part] for part in KEPT} == {part: own[part] for part in KEPT}
            assert (
                changed.versions[name].panes["judged"][2].tallies.keys()
                == version.panes["judged"][2].tallies.keys()
            )
        kinds = {key[1] for key, _ in store.panes(0) if key[2]}
        assert kinds == {"judged", "hours"}

    @pytest.mark.parametrize(
        ("change", "same"),
        [
            ({"team": "others"}, True),
            ({"quality": {"accuracy": {"min": 0.5}}}, True),
            ({"windows": ["5m"], "alert_window": "5m"}, True),
            ({"positive": "late"}, False),
            ({"labels": {"fields": {"id": "other", "timestamp": "ts", "label": "label"}}}, False),
            ({"predictions": {"fields": {"id": "id", "timestamp": "ts", "score": "p"}}}, False),
        ],
    )
    def test_waiting_rows_mean_the_same_or_not(self, site: Site, change: dict[str, Any], same: bool) -> None:
        site.predict(prediction(1, 0))
        state_after(site, 10)
        own = model()
        for key, value in change.items():
            own[key] = {**own[key], **value} if isinstance(value, dict) and key in own else value
        site.models = [own]
        config = site.config()
        state = ModelState(config.models[0], load_layouts(config)["flight-delay"])
        store = Store(config.exporter.state)
        assert saved_state.load(state, store, 0) is same
        store.close()


class TestVersions:
    def test_over_the_limit_they_are_counted_as_other(self, site: Site) -> None:
        site.models[0] |= {"version_limit": 2, "shadow": ["7"]}
        del site.models[0]["champion"]
        site.predict(*(prediction(number, number, version=f"{number % 5}") for number in range(50)))
        state = state_after(site, 60)
        assert set(state.versions) == {"0", "1", "other"}
        assert state.versions["other"].totals["inputs"].count("rows") == 30
        site.predict(*(prediction(100 + number, 61, version="7") for number in range(3)))
        again = state_after(site, 70)
        # What the configuration names is never "other", and who had a place keeps it.
        assert set(again.versions) == {"0", "1", "other", "7"}
        assert again.versions["7"].totals["inputs"].count("rows") == 3

    def test_judged_rows_go_where_their_predictions_went(self, site: Site) -> None:
        site.models[0]["version_limit"] = 2
        site.predict(*(prediction(number, number, version=f"{number % 4}") for number in range(40)))
        site.label(*(label(number, number) for number in range(40)))
        state_after(site, 41)
        state = state_after(site, 110)
        counted = {
            name: version.totals["judged"].count("labelled") for name, version in state.versions.items()
        }
        assert counted == {
            name: version.totals["inputs"].count("rows") for name, version in state.versions.items()
        }
        assert sum(counted.values()) == 40

    def test_a_lower_limit_takes_no_place_away(self, site: Site) -> None:
        site.predict(*(prediction(number, number, version=f"{number % 4}") for number in range(40)))
        state_after(site, 50)
        site.models[0]["version_limit"] = 1
        state = state_after(site, 51)
        assert {name: version.totals["inputs"].count("rows") for name, version in state.versions.items()} == {
            str(number): 10 for number in range(4)
        }

    def test_one_that_was_unseen_for_the_longest_window_frees_its_place(self, site: Site) -> None:
        site.models[0]["version_limit"] = 2
        site.predict(prediction(1, 0, version="old"), prediction(2, 0, version="1"))
        assert set(state_after(site, 10).versions) == {"old", "1"}
        # Judged rows stay in the window for a maturity longer: 10 minutes and 1.
        assert set(state_after(site, 659).versions) == {"old", "1"}
        assert set(state_after(site, 661).versions) == {"1"}
        site.predict(prediction(3, 670, version="new"))
        assert set(state_after(site, 680).versions) == {"1", "new"}
        store = Store(site.folder / "state.duckdb")
        # What was served by hour stays, in nobody's name.
        assert {key[0] for key, _ in store.panes(0)} == {"1", "new", ""}
        store.close()

    def test_one_that_comes_back_starts_at_0(self, site: Site) -> None:
        site.predict(*(prediction(number, 0, version="2") for number in range(5)))
        state_after(site, 10)
        assert state_after(site, 2_000).versions == {}
        site.predict(prediction(10, 2_001, version="2"))
        assert state_after(site, 2_002).versions["2"].totals["inputs"].count("rows") == 1
        assert state_after(site, 2_003).versions["2"].totals["inputs"].count("rows") == 1


class TestChampion:
    """Without one in the configuration it is the version with most traffic, for as long as it can."""

    @pytest.fixture
    def site(self, tmp_path: Path) -> Site:
        own = model(windows=["1d"], alert_window="1d", labels={"maturity": "1m", "wait": "1d"})
        del own["champion"]
        return Site(tmp_path, models=[own])

    def test_is_the_version_with_most_traffic(self, site: Site) -> None:
        site.predict(
            *(prediction(number, number, version="b" if number % 3 else "a") for number in range(30))
        )
        assert state_after(site, 60).champion == "b"

    def test_is_never_a_shadow(self, site: Site) -> None:
        site.models[0]["shadow"] = ["b"]
        site.predict(
            *(prediction(number, number, version="b" if number % 3 else "a") for number in range(30))
        )
        assert state_after(site, 60).champion == "a"

    def test_changes_only_after_a_day_above_half(self, site: Site) -> None:
        site.predict(*(prediction(number, number, version="a") for number in range(10)))
        assert state_after(site, 60).champion == "a"
        site.predict(*(prediction(100 + number, 100, version="b") for number in range(50)))
        assert state_after(site, 200).champion == "a"
        site.predict(*(prediction(200 + number, DAY - 100, version="b") for number in range(50)))
        assert state_after(site, 200 + DAY - 1).champion == "a"
        assert state_after(site, 200 + DAY).champion == "b"

    def test_stays_when_the_other_falls_back_in_between(self, site: Site) -> None:
        site.predict(*(prediction(number, number, version="a") for number in range(10)))
        state_after(site, 60)
        site.predict(*(prediction(100 + number, 100, version="b") for number in range(50)))
        state_after(site, 200)
        site.predict(*(prediction(200 + number, 300, version="a") for number in range(90)))
        assert state_after(site, 400).contender is None
        site.predict(*(prediction(400 + number, 500, version="b") for number in range(200)))
        assert state_after(site, 600).champion == "a"
        assert state_after(site, 200 + DAY).champion == "a"

    def test_the_configured_one_wins_over_the_stored_one(self, site: Site) -> None:
        site.predict(*(prediction(number, number, version="a") for number in range(10)))
        assert state_after(site, 60).champion == "a"
        site.models[0]["champion"] = "b"
        assert state_after(site, 61).champion == "b"


def test_labels_and_names_do_not_depend_on_the_order_of_versions(site: Site) -> None:
    site.predict(prediction(1, 0, version="z"), prediction(2, 0, version="a"), prediction(3, 1, version="z"))
    state = state_after(site, 10)
    assert state.outcomes["predictions"] == Counter(accepted=3)
    assert [dataclasses.astuple(item)[0] for item in state.positions["predictions"].values()] == [
        str(site.folder / "flight-delay-predictions.jsonl")
    ]
    assert state.newest == round((START + 1) * 1e6)
