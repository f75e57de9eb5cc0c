"""What the REST and the gRPC front share: the models, and how many requests run at once."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from tfseg_serving.manager import ModelManager
from tfseg_serving.status import Code, StatusError


class Admission:
    """Lets a bounded number of predictions run, a bounded number wait, and refuses the rest.

    Questions about status and metadata never pass through it, so they are answered while
    every prediction is slow.

    Args:
        running: predictions at once.
        waiting: predictions that may wait for a turn.
    """

    def __init__(self, running: int, waiting: int) -> None:
        self._running = threading.BoundedSemaphore(running)
        self._places = threading.BoundedSemaphore(running + waiting)

    @contextmanager
    def slot(self, timeout_s: float | None) -> Iterator[float | None]:
        """Wait for a turn and hold it; yields the seconds that are left of ``timeout_s``.

        Raises:
            StatusError: RESOURCE_EXHAUSTED when too many wait already, DEADLINE_EXCEEDED when
                the turn does not come in time.
        """
        if not self._places.acquire(blocking=False):
            raise StatusError(
                Code.RESOURCE_EXHAUSTED,
                "too many predictions are waiting; try again later or raise --max-concurrency",
            )
        try:
            start = time.monotonic()
            if not self._running.acquire(timeout=timeout_s):
                raise StatusError(Code.DEADLINE_EXCEEDED, "timed out waiting for a turn to run")
            try:
                left = None
                if timeout_s is not None:
                    left = max(0.001, timeout_s - (time.monotonic() - start))
                yield left
            finally:
                self._running.release()
        finally:
            self._places.release()


class Core:
    """The models and the admission to them.

    Attributes:
        models: every model.
        admission: of predictions.
        requests_under_way: how many requests of either front are being answered now.
    """

    def __init__(self, models: ModelManager, admission: Admission) -> None:
        self.models = models
        self.admission = admission
        self._count = 0
        self._changed = threading.Condition()

    @contextmanager
    def request(self) -> Iterator[None]:
        """Count one request, so that a server that stops can wait for it."""
        with self._changed:
            self._count += 1
        try:
            yield
        finally:
            with self._changed:
                self._count -= 1
                self._changed.notify_all()

    @property
    def requests_under_way(self) -> int:
        """Number of requests that are being answered."""
        with self._changed:
            return self._count

    def wait_until_idle(self, timeout_s: float) -> bool:
        """Wait until no request is being answered; tell whether that came in time."""
        with self._changed:
            return self._changed.wait_for(lambda: self._count == 0, timeout_s)
