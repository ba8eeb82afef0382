"""Names that are counted on their own: bounded, frozen, and never two series of one name."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ml_exporter.slots import MISSING, OTHER, Slots

NAMES = st.lists(st.sampled_from(["a", "b", "c", "d", OTHER, MISSING, ""]), max_size=6)


def named(slots: Slots, name: str) -> str | None:
    return slots.label(int(slots.codes([name])[0]))


def test_those_met_first_have_the_places_and_keep_them() -> None:
    slots = Slots(2)
    assert slots.codes(["x", "y", "z", "x"]).tolist() == [0, 1, 2, 0, 2, 3]
    assert slots.codes(["z", "y"]).tolist() == [2, 1, 2, 3]
    assert [slots.label(code) for code in range(4)] == ["x", "y", OTHER, MISSING]


def test_those_known_beforehand_leave_no_place_for_others() -> None:
    slots = Slots(20, ["x", "y"])
    assert slots.size == 2
    assert slots.codes(["z", "y", "x"]).tolist() == [2, 1, 0, 2, 3]
    assert Slots(1, ["x", "y"]).codes(["y", "x"]).tolist() == [1, 0, 1, 2]


def test_a_code_that_is_not_given_yet_has_no_name() -> None:
    slots = Slots(3)
    slots.codes(["x"])
    assert [slots.label(code) for code in range(5)] == ["x", None, None, OTHER, MISSING]


def test_values_called_as_the_two_codes_are_take_no_place() -> None:
    slots = Slots(3)
    codes = slots.codes([OTHER, "x", MISSING])
    assert slots.names == ["x"]
    assert [slots.label(int(code)) for code in codes[:3]] == [OTHER, "x", MISSING]


def test_a_class_that_is_known_as_other_takes_the_rest_with_it() -> None:
    slots = Slots(5, ["x", OTHER, "y"])
    assert slots.names == ["x", OTHER, "y"]
    assert slots.codes([OTHER, "z", "y"]).tolist() == [1, 1, 2, 1, 4]
    assert [slots.label(code) for code in range(5)] == ["x", OTHER, "y", None, MISSING]


@pytest.mark.parametrize("limit", [0, 1, 3])
def test_nothing_known_and_nothing_met(limit: int) -> None:
    slots = Slots(limit)
    assert slots.codes([]).tolist() == [limit, limit + 1]
    assert slots.names == []


@given(st.integers(0, 4), NAMES, st.lists(NAMES, max_size=4))
def test_every_name_has_one_code_for_good_and_every_code_one_name(
    limit: int, known: list[str], blocks: list[list[str]]
) -> None:
    slots = Slots(limit, list(dict.fromkeys(known)))
    seen: dict[str, int] = {}
    for block in blocks:
        codes = slots.codes(block)
        assert codes.size == len(block) + 2
        for name, code in zip(block, codes.tolist(), strict=False):
            assert 0 <= code <= slots.size + 1
            assert seen.setdefault(name, code) == code
            assert slots.label(code) in (name, OTHER)
    labels = [label for code in range(slots.size + 2) if (label := slots.label(code)) is not None]
    assert len(labels) == len(set(labels))
    assert len(slots.names) <= max(limit, 0)


@given(st.integers(1, 4), st.lists(NAMES, min_size=1, max_size=4))
def test_names_of_an_earlier_run_have_their_codes_again(limit: int, blocks: list[list[str]]) -> None:
    before = Slots(limit)
    for block in blocks:
        before.codes(block)
    after = Slots(limit)
    assert after.restore(before.names)
    every = [name for block in reversed(blocks) for name in block]
    assert after.codes(every).tolist() == before.codes(every).tolist()


def test_names_of_an_earlier_run_do_not_displace_what_is_known_beforehand() -> None:
    slots = Slots(20, ["b", "a"])
    assert not slots.restore(["a", "b"])
    assert slots.names == ["b", "a"]
    assert slots.restore(["b", "a"])


def test_more_names_than_there_are_places_are_not_taken_over() -> None:
    slots = Slots(1)
    assert not slots.restore(["a", "b"])
    assert slots.names == []


def test_names_are_restored_once_they_are_read_again() -> None:
    slots = Slots(3)
    stored = ["x"]
    slots.restore(stored)
    slots.codes(["y"])
    assert stored == ["x"]
    assert named(slots, "y") == "y"
