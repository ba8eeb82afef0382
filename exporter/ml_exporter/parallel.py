"""Work on blocks by a few threads, with the results in the blocks' order."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future
from queue import Empty, SimpleQueue
from typing import Generic, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")
Tool = TypeVar("Tool")


def never() -> bool:
    """Whether it is time to stop, for those that do not."""
    return False


class Shared(Generic[Tool]):
    """Tools that only one thread may use at a time; whoever needs one borrows it.

    There are never more than are used at once; the first is made beforehand.
    """

    def __init__(self, make: Callable[[], Tool]) -> None:
        self._make = make
        self._free: SimpleQueue[Tool] = SimpleQueue()
        self._free.put(make())

    def use(self, work: Callable[[Tool], Result]) -> Result:
        """Borrow a tool for one piece of work."""
        try:
            tool = self._free.get_nowait()
        except Empty:
            tool = self._make()
        try:
            return work(tool)
        finally:
            self._free.put(tool)


def in_order(
    executor: Executor, work: Callable[[Item], Result], items: Iterable[Item], ahead: int
) -> Iterator[Result]:
    """Yield the result of each item, in order; at most `ahead` items are worked on beyond the one awaited."""
    pending: deque[Future[Result]] = deque()
    try:
        for item in items:
            pending.append(executor.submit(work, item))
            if len(pending) > ahead:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
    finally:
        for future in pending:
            future.cancel()
