"""Calls run side by side in threads; their results come in the order of what was asked.

Threads, not processes: reading, unpacking, the distance searches and waiting for a server release
the interpreter's lock, and label maps need not be copied between processes.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


def cores() -> int:
    """Return the number of cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):  # Linux; a container may have fewer than the machine
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def in_order(
    function: Callable[[_Item], _Result], items: Iterable[_Item], at_once: int
) -> Generator[_Result, None, None]:
    """Yield ``function(item)`` for every item, as ``map`` does, ``at_once`` under way together.

    The iterable is advanced in the caller's thread, as items are needed: no more than ``at_once``
    and one in hand are held at a time, with their results. The first call that raises ends it:
    calls that have not begun are dropped, those under way are left to end by themselves. So it is
    when the iterator is closed.
    """
    waiting: deque[Future[_Result]] = deque()
    pool = ThreadPoolExecutor(at_once, thread_name_prefix="tfseg")
    try:
        for item in items:
            if len(waiting) == at_once:
                yield waiting.popleft().result()
            waiting.append(pool.submit(function, item))
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
