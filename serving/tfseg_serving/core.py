"""What the REST and the gRPC front share: the models, and bounds on work and on memory."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tfseg_serving.manager import ModelManager
from tfseg_serving.metrics import Metrics
from tfseg_serving.status import Code, StatusError


class Ticket:
    """One request's patience: its deadline, and whether its client still waits.

    Args:
        timeout_s: seconds from now; ``None`` for no limit.
    """

    def __init__(self, timeout_s: float | None = None) -> None:
        self._deadline = None if timeout_s is None else time.monotonic() + timeout_s
        self._lock = threading.Lock()
        self._wake: Callable[[], None] | None = None
        self.abandoned = False

    def time_left(self) -> float | None:
        """Return the seconds that are left, at least a millisecond; ``None`` for no limit."""
        if self._deadline is None:
            return None
        return max(0.001, self._deadline - time.monotonic())

    @property
    def expired(self) -> bool:
        """Whether the deadline has passed."""
        return self._deadline is not None and time.monotonic() >= self._deadline

    def abandon(self) -> None:
        """Say that the client has left: a request that waits for its turn gives up."""
        with self._lock:
            self.abandoned = True
            wake = self._wake
        if wake is not None:
            wake()

    def on_abandon(self, wake: Callable[[], None] | None) -> None:
        """Call ``wake`` when the client leaves."""
        with self._lock:
            self._wake = wake


class Admission:
    """Lets a bounded number of predictions run, a bounded number wait, and refuses the rest.

    Questions about status and metadata never pass through it, so they are answered while
    every prediction is slow.

    Args:
        running: predictions at once.
        waiting: predictions that may wait for a turn.
    """

    def __init__(self, running: int, waiting: int) -> None:
        self._free = running
        self._places = running + waiting
        self._turn = threading.Condition()

    @contextmanager
    def slot(self, ticket: Ticket) -> Iterator[None]:
        """Wait for a turn and hold it.

        Raises:
            StatusError: RESOURCE_EXHAUSTED when too many wait already, DEADLINE_EXCEEDED when
                the turn does not come in time, CANCELLED when the client left.
        """
        with self._turn:
            if not self._places:
                raise StatusError(
                    Code.RESOURCE_EXHAUSTED,
                    "too many predictions are waiting; try again later or raise --max-concurrency",
                )
            self._places -= 1
        try:
            self._wait_for_turn(ticket)
            try:
                yield
            finally:
                with self._turn:
                    self._free += 1
                    self._turn.notify()
        finally:
            with self._turn:
                self._places += 1

    def _wait_for_turn(self, ticket: Ticket) -> None:
        ticket.on_abandon(self._wake_all)
        try:
            with self._turn:
                self._turn.wait_for(lambda: self._free or ticket.abandoned, ticket.time_left())
                if ticket.abandoned:
                    self._turn.notify()  # the wake-up may have been meant for another
                    raise StatusError(Code.CANCELLED, "the client left before its turn came")
                if not self._free:
                    raise StatusError(Code.DEADLINE_EXCEEDED, "timed out waiting for a turn to run")
                self._free -= 1
        finally:
            ticket.on_abandon(None)

    def _wake_all(self) -> None:
        with self._turn:
            self._turn.notify_all()


class Memory:
    """Bounds the bytes of all requests that are held at once.

    Args:
        limit: in bytes.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._held = 0
        self._lock = threading.Lock()

    def take(self, size: int) -> None:
        """Account for ``size`` more bytes.

        Raises:
            StatusError: RESOURCE_EXHAUSTED when that is too much; nothing is accounted for then.
        """
        with self._lock:
            if self._held + size > self._limit:
                raise StatusError(
                    Code.RESOURCE_EXHAUSTED,
                    f"requests under way already hold {self._held} bytes and {size} more would "
                    f"pass the limit of {self._limit}; try again later or raise "
                    "--max-memory-bytes",
                )
            self._held += size

    def give_back(self, size: int) -> None:
        """Undo :meth:`take`."""
        with self._lock:
            self._held -= size

    @contextmanager
    def hold(self, size: int) -> Iterator[None]:
        """Account for ``size`` bytes while a request is answered; see :meth:`take`."""
        self.take(size)
        try:
            yield
        finally:
            self.give_back(size)


class Core:
    """The models, the bounds and the counters that every request meets.

    Attributes:
        models: every model.
        admission: of predictions.
        memory: of requests.
        metrics: what is counted.
    """

    def __init__(
        self,
        models: ModelManager,
        admission: Admission,
        memory: Memory,
        metrics: Metrics | None = None,
    ) -> None:
        self.models = models
        self.admission = admission
        self.memory = memory
        self.metrics = metrics or Metrics()
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
