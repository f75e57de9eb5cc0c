"""``grpc.health.v1.Health``: the standard health service, by hand, as its messages are tiny."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import grpc

from tfseg_serving.wire.protobuf import WireError, integer_field, read_bytes_fields, to_text

MAX_WATCHERS = 16
_SERVING, _NOT_SERVING, _SERVICE_UNKNOWN = 1, 2, 3
# The names under which TF-Serving registers itself, and the server as a whole.
_SERVICES = frozenset({"", "ModelService", "PredictionService"})


class Health:
    """Says SERVING for the services that TF-Serving names, until :meth:`stop`."""

    NAME = "grpc.health.v1.Health"

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._stopped = False
        self._watchers = 0

    def stop(self) -> None:
        """Say NOT_SERVING from now on."""
        with self._changed:
            self._stopped = True
            self._changed.notify_all()

    def methods(self, first: Callable[[Iterator[bytes], Any], bytes]) -> dict[str, Any]:
        """Return gRPC's handlers, by method; ``first`` takes a call's message within bounds."""

        def of(answer: Callable[[bytes, Any], Any]) -> Callable[[Iterator[bytes], Any], Any]:
            def handle(messages: Iterator[bytes], context: Any) -> Any:
                try:
                    message = first(messages, context)
                except StopIteration:
                    context.abort(grpc.StatusCode.INVALID_ARGUMENT, "the request has no message")
                return answer(message, context)

            return handle

        return {
            "Check": grpc.stream_unary_rpc_method_handler(of(self._check)),
            "Watch": grpc.stream_stream_rpc_method_handler(of(self._watch)),
        }

    def _status(self, service: str) -> int:
        if service not in _SERVICES:
            return _SERVICE_UNKNOWN
        return _NOT_SERVING if self._stopped else _SERVING

    def _check(self, message: bytes, context: Any) -> bytes:
        status = self._status(_service_of(message, context))
        if status == _SERVICE_UNKNOWN:
            context.abort(grpc.StatusCode.NOT_FOUND, "unknown service")
        return _answer(status)

    def _watch(self, message: bytes, context: Any) -> Iterator[bytes]:
        """Yield the status at once, and again when it changes; a watcher holds a thread."""
        service = _service_of(message, context)
        with self._changed:
            full = self._watchers >= MAX_WATCHERS
            self._watchers += not full
        if full:
            context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "too many health watchers")
        try:
            context.add_callback(self._wake)
            yield _answer(self._status(service))
            with self._changed:
                self._changed.wait_for(lambda: self._stopped or not context.is_active())
            if context.is_active():
                yield _answer(self._status(service))
        finally:
            with self._changed:
                self._watchers -= 1

    def _wake(self) -> None:
        with self._changed:
            self._changed.notify_all()


def _service_of(message: bytes, context: Any) -> str:
    try:
        fields = dict(read_bytes_fields(memoryview(message)))
        return to_text(fields[1]) if 1 in fields else ""
    except WireError as error:
        context.abort(grpc.StatusCode.INVALID_ARGUMENT, f"the request cannot be parsed: {error}")
        raise


def _answer(status: int) -> bytes:
    return b"".join(integer_field(1, status))
