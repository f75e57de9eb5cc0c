"""When a call is made again, and how long to wait before."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from tfseg_serving.status import Code, StatusError

_Answer = TypeVar("_Answer")

_LATER = frozenset({Code.UNAVAILABLE, Code.RESOURCE_EXHAUSTED})


@dataclass(frozen=True)
class Retries:
    """Exponential back-off with jitter, within the caller's deadline.

    A call is made again only when the server was not reached, was stopping, or was too busy:
    UNAVAILABLE (connection refused or lost, HTTP 503) and RESOURCE_EXHAUSTED (HTTP 429). All
    that a client calls here only computes or reads, so doing it twice does no harm, even where
    the first answer was lost on the way. Refusals of the request itself would be the same again.

    Attributes:
        times: calls after the first; 0 for none.
        first_s: the longest wait before the first of them; each next may be twice as long.
        longest_s: no wait is longer.
    """

    times: int = 3
    first_s: float = 0.25
    longest_s: float = 8.0

    def call(
        self,
        attempt: Callable[[float], _Answer],
        timeout_s: float,
        *,
        share: Callable[[], float] = random.random,
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> _Answer:
        """Return what ``attempt`` returns; it is given the seconds that are left.

        Args:
            attempt: one call.
            timeout_s: for all calls and all waits together.
            share: of the longest wait that is taken, in [0, 1). Waits differ, so that clients
                that were turned away together do not come back together.
            sleep: waits some seconds.
            clock: the time in seconds.

        Raises:
            StatusError: of the last call.
        """
        end = clock() + timeout_s
        for done in range(self.times + 1):
            try:
                return attempt(end - clock())
            except StatusError as error:
                longest = min(self.longest_s, self.first_s * 2**done)
                pause = longest * (1 + share()) / 2
                if done == self.times or not worth_again(error) or clock() + pause >= end:
                    raise
            sleep(pause)
        raise ValueError(f"times must not be negative; got {self.times}")


def worth_again(error: StatusError) -> bool:
    """Tell whether the same call may succeed a moment later."""
    # gRPC's word for a message past a size limit, which TF-Serving's REST side shares.
    return error.code in _LATER and "larger than max" not in error.message
