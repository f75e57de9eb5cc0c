"""SIGTERM, SIGINT and SIGHUP ask a server to stop; nothing of it depends on when they come."""

from __future__ import annotations

import queue
import signal
from types import FrameType


class StopAsked(BaseException):  # like KeyboardInterrupt, it is no error
    """A signal came before the server began to answer."""


class StopSignals:
    """Hears the signals: at first they interrupt what runs, after :meth:`hold` they are waited for.

    Only the first counts: those that follow, as when a whole process group is told, change nothing.
    """

    def __init__(self) -> None:
        self._interrupts = True
        # A handler may run in the middle of anything; this queue, unlike an event, allows that.
        self._came: queue.SimpleQueue[int] = queue.SimpleQueue()
        self._before = {
            number: signal.getsignal(number)
            for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
        }
        if self._before[signal.SIGHUP] is signal.SIG_IGN:
            del self._before[signal.SIGHUP]  # started by nohup: it outlives its terminal

    def install(self) -> None:
        """Hear the signals from now on.

        Raises:
            StopAsked: from wherever the main thread is, when one comes before :meth:`hold`.
        """
        for number in self._before:
            signal.signal(number, self._on_signal)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        self._came.put(number)
        if self._interrupts:
            self._interrupts = False
            raise StopAsked

    def hold(self) -> None:
        """Let signals wait for :meth:`wait`.

        Raises:
            StopAsked: one came already, and something on its way stopped it.
        """
        self._interrupts = False
        if not self._came.empty():
            raise StopAsked

    def wait(self) -> None:
        """Return when a signal comes, or has come since :meth:`hold`."""
        self._came.get()

    def ignore(self) -> None:
        """Let no later signal give an ending process another exit code."""
        for number in self._before:
            signal.signal(number, signal.SIG_IGN)

    def uninstall(self) -> None:
        """Put back what was in force before."""
        for number, handler in self._before.items():
            signal.signal(number, handler)
