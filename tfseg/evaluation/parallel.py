"""Calls run side by side in threads; their results come in the calls' own order.

Threads, not processes: reading, unpacking and the distance searches release the interpreter's
lock, and label maps need not be copied between processes.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

_Result = TypeVar("_Result")


def cores() -> int:
    """Return the number of cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):  # Linux; a container may have fewer than the machine
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def in_order(calls: Iterable[Callable[[], _Result]], jobs: int) -> Generator[_Result, None, None]:
    """Run ``calls`` in ``jobs`` threads and yield each result in the order of the calls.

    The iterable is advanced in the caller's thread, one call ahead of the threads: at most
    ``jobs + 1`` calls and results exist at a time. An exception of a call is raised here; calls
    that have not started are then dropped, and so they are when the iterator is closed.
    """
    waiting: deque[Future[_Result]] = deque()
    with ThreadPoolExecutor(jobs, thread_name_prefix="case") as pool:
        try:
            for call in calls:
                waiting.append(pool.submit(call))
                if len(waiting) > jobs:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
