"""Blocks worked on by threads: order, bounded look-ahead, errors, and tools that are not shared."""

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from ml_exporter.parallel import Shared, in_order


def test_results_come_in_the_items_order() -> None:
    with ThreadPoolExecutor(4) as executor:
        slow_first = in_order(executor, lambda item: (time.sleep(0.02 / (item + 1)), item)[1], range(20), 4)
        assert list(slow_first) == list(range(20))


def test_no_more_items_are_taken_than_looked_ahead() -> None:
    taken = []

    def items() -> Iterator[int]:
        for item in range(100):
            taken.append(item)
            yield item

    with ThreadPoolExecutor(2) as executor:
        results = in_order(executor, lambda item: item, items(), 2)
        assert next(results) == 0
        assert len(taken) == 3
        results.close()  # type: ignore[attr-defined]  # it is a generator
        assert len(taken) == 3


def test_an_error_comes_where_its_item_was() -> None:
    with ThreadPoolExecutor(2) as executor:
        results = in_order(executor, lambda item: 1 // (item - 2), range(5), 2)
        assert [next(results), next(results)] == [-1, -1]
        with pytest.raises(ZeroDivisionError):
            next(results)


def test_a_tool_is_used_by_one_thread_at_a_time_and_none_is_made_without_need() -> None:
    made: list[threading.Lock] = []

    def make() -> threading.Lock:
        made.append(threading.Lock())
        return made[-1]

    def work(lock: threading.Lock) -> None:
        assert lock.acquire(blocking=False)
        time.sleep(0.002)
        lock.release()

    shared = Shared(make)
    for _ in range(3):
        shared.use(work)
    assert len(made) == 1
    with ThreadPoolExecutor(8) as executor:
        list(executor.map(lambda _: shared.use(work), range(50)))
    assert 1 < len(made) <= 8


def test_a_tool_is_given_back_after_an_error() -> None:
    names = iter(["bad"])
    shared = Shared(lambda: next(names))
    with pytest.raises(ValueError, match="bad"):
        shared.use(int)
    assert shared.use(len) == 3
