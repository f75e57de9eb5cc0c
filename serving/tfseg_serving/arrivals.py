"""Calls over gRPC whose message has not come: bounded in number and in time.

gRPC for Python gives each call a thread when its headers come and waits for its message without
end, so headers alone could take every thread. Here such calls have places of their own. When
those are full, the oldest call of the connection that has most of them goes, so that one client
cannot keep out another.
"""

from __future__ import annotations

import contextlib
import os
import socket
import struct
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

PLACES = 64
SILENT_S = 75.0  # for a connection on which nothing comes
LONGEST_S = 3600.0  # for a message, however steadily it comes
_LOOK_S = 1.0
_LAST_DATA_RECEIVED = 52  # offset in Linux's struct tcp_info: milliseconds, uint32


@dataclass(eq=False)
class _Arrival:
    context: Any
    peer: str  # names the connection
    since: float = field(default_factory=time.monotonic)


class Arrivals:
    """The calls that wait for their message."""

    def __init__(self) -> None:
        self._waiting: list[_Arrival] = []  # oldest first
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="arrivals", daemon=True)

    def start(self) -> None:
        """Begin to end calls that wait for too long."""
        self._thread.start()

    def stop(self) -> None:
        """Look no more."""
        self._stop.set()

    def message(self, messages: Iterator[bytes], context: Any) -> bytes:
        """Return the first message of a call.

        Raises:
            StopIteration: the call ends without one.
            grpc.RpcError: it was cancelled, by its client or here.
        """
        arrival = _Arrival(context, context.peer())
        with self._lock:
            self._waiting.append(arrival)
            leaving = self._in_the_way() if len(self._waiting) > PLACES else None
        if leaving is not None:
            leaving.context.cancel()
        try:
            return next(messages)
        finally:
            with self._lock, contextlib.suppress(ValueError):
                self._waiting.remove(arrival)

    def _in_the_way(self) -> _Arrival:
        peer, _ = Counter(one.peer for one in self._waiting).most_common(1)[0]
        place = next(n for n, one in enumerate(self._waiting) if one.peer == peer)
        return self._waiting.pop(place)

    def _watch(self) -> None:
        while not self._stop.wait(_LOOK_S):
            now = time.monotonic()
            with self._lock:
                late = [one for one in self._waiting if now - one.since >= SILENT_S]
            silent = {peer: silent_s(peer) for peer in {one.peer for one in late}}
            for one in late:
                if now - one.since >= LONGEST_S or silent[one.peer] >= SILENT_S:
                    one.context.cancel()


def silent_s(peer: str) -> float:
    """Return how long nothing has come on one of this process's connections, in seconds.

    Args:
        peer: its other end, as gRPC writes it, such as ``ipv4:127.0.0.1:5000``.

    Returns:
        0 where the system does not tell: then a slow client gets the benefit of the doubt.
    """
    with contextlib.suppress(OSError):
        for entry in Path("/proc/self/fd").iterdir():
            with contextlib.suppress(OSError):
                if entry.readlink().name.startswith("socket:"):
                    told = _told(int(entry.name), peer)
                    if told is not None:
                        return told
    return 0.0


def _told(number: int, peer: str) -> float | None:
    """Return what the system tells of one socket, if it is that of ``peer``."""
    copy = os.dup(number)  # gRPC may close its own at any time
    try:
        link = socket.socket(fileno=copy)
    except OSError:
        os.close(copy)
        raise
    with link:
        if link.type != socket.SOCK_STREAM or _written(link.getpeername()) != peer:
            return None
        told = link.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 104)
        return float(struct.unpack_from("=I", told, _LAST_DATA_RECEIVED)[0]) / 1000


def _written(address: Any) -> str:
    if not isinstance(address, tuple):
        return ""
    host, port = address[:2]
    host = host.removeprefix("::ffff:")  # a socket of both families
    return f"ipv6:%5B{host.replace('%', '%25')}%5D:{port}" if ":" in host else f"ipv4:{host}:{port}"
