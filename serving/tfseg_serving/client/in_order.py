"""Several calls under way at once, their results in the order of what was asked."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


def in_order(
    function: Callable[[_Item], _Result], items: Iterable[_Item], at_once: int
) -> Iterator[_Result]:
    """Yield ``function(item)`` for every item, as ``map`` does, ``at_once`` under way together.

    Items are taken as they are needed: no more than ``at_once`` and one in hand are held at a
    time, with their results. The first call that raises ends it: calls that have not begun are
    dropped, those under way are left to end by themselves.
    """
    waiting: deque[Future[_Result]] = deque()
    pool = ThreadPoolExecutor(at_once)
    try:
        for item in items:
            if len(waiting) == at_once:
                yield waiting.popleft().result()
            waiting.append(pool.submit(function, item))
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
