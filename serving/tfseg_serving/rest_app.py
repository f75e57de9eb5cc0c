"""The REST front as an ASGI application: bodies are read within bounds, work is done in threads.

The event loop only moves bytes. Questions about models have threads of their own, so they are
answered while every other thread runs a prediction. A client that leaves gives up its turn.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import Awaitable, Callable, MutableMapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from tfseg_serving.core import Core, Ticket
from tfseg_serving.json_tensor import format_error
from tfseg_serving.rest_api import OUTER, RestApi, RestRequest
from tfseg_serving.service import Service
from tfseg_serving.status import Code, StatusError

_Message = MutableMapping[str, Any]
_Receive = Callable[[], Awaitable[_Message]]
_Send = Callable[[_Message], Awaitable[None]]

_METHODS = frozenset({"GET", "POST", "HEAD", "PUT", "DELETE", "OPTIONS", "PATCH"})
_JSON, _TEXT, _HTML = b"application/json", b"text/plain", b"text/html"
_BODY_IDLE_S = 75.0
_LINGER_S = 2.0
_NOT_FOUND_PAGE = (
    b"<HTML><HEAD>\n<TITLE>404 Not Found</TITLE>\n</HEAD><BODY>\n"
    b"<H1>Not Found</H1>\n</BODY></HTML>\n"
)
_CORS = (
    (b"access-control-allow-origin", b"*"),
    (b"access-control-allow-methods", b"POST, GET"),
    (b"access-control-allow-headers", b"Content-Type"),
)


class _ClientLeftError(Exception):
    """The client has gone, or is too slow: there is nobody to answer."""


class _TooLargeError(StatusError):
    """The body is over the bound; the rest of it is not read."""


@dataclass(frozen=True)
class RestOptions:
    """How the REST front answers.

    Attributes:
        timeout_s: how long one prediction may take, waiting for its turn included.
        max_request_bytes: larger bodies are refused.
        threads: for predictions; more than may run or wait.
        cors: let pages of any origin read the answers.
        metrics_path: where Prometheus reads; ``None`` for nowhere.
    """

    timeout_s: float
    max_request_bytes: int
    threads: int
    cors: bool = False
    metrics_path: str | None = None


class RestApp:
    """The ASGI application.

    Attributes:
        draining: every answer ends its connection.
    """

    _QUESTION_THREADS = 4

    def __init__(self, core: Core, options: RestOptions) -> None:
        self.draining = False
        self._core = core
        self._options = options
        self._api = RestApi(Service(core))
        self._work = ThreadPoolExecutor(options.threads, thread_name_prefix="rest")
        self._questions = ThreadPoolExecutor(
            self._QUESTION_THREADS, thread_name_prefix="rest-question"
        )

    def close(self) -> None:
        """End the threads that are idle; what is under way ends by itself."""
        for pool in (self._work, self._questions):
            pool.shutdown(wait=False, cancel_futures=True)

    async def __call__(self, scope: _Message, receive: _Receive, send: _Send) -> None:
        """Answer one request; :mod:`tfseg_serving.rest_front` adds ``target`` to the scope."""
        headers = dict(scope["headers"])
        target = scope["target"].decode("utf-8", "surrogateescape")
        with self._core.request():
            body = _Body(self._core, self._options.max_request_bytes, receive)
            try:
                data = await body.read(headers)
                status, answer, kind = await self._answer(scope, headers, target, data, receive)
                await self._send(send, target, status, answer, kind)
            except _TooLargeError as error:
                # Closing with unread bytes would reset the answer away.
                await body.discard(headers)
                answer = format_error(error.message)
                await self._send(send, target, error.code.http, answer, _JSON, close=True)
            except StatusError as error:
                answer = format_error(error.message)
                await self._send(send, target, error.code.http, answer, _JSON, close=True)
            except _ClientLeftError:
                return
            finally:
                body.release()

    async def _answer(
        self,
        scope: _Message,
        headers: dict[bytes, bytes],
        target: str,
        data: bytes,
        receive: _Receive,
    ) -> tuple[int, bytes, bytes]:
        method = scope["method"]
        if method not in _METHODS:
            return 501, b"", _HTML
        path = self._options.metrics_path
        if path is not None and target.split("?", 1)[0] == path:
            return self._metrics(target, path)
        if not OUTER.fullmatch(target):
            return 404, _NOT_FOUND_PAGE, _HTML
        if method == "OPTIONS":
            origin = headers.get(b"origin", b"")
            return (200 if re.search(rb"https?://", origin) else 400), b"", _JSON
        gzipped = b"gzip" in headers.get(b"content-encoding", b"").lower()
        request = RestRequest(method, target, data, gzipped)
        status, answer = await self._run(request, receive)
        return status, answer, _JSON

    def _metrics(self, target: str, path: str) -> tuple[int, bytes, bytes]:
        if target != path:
            text = f"Unexpected path: {target}. Should be {path}"
            return 400, text.encode("utf-8", "surrogateescape"), _TEXT
        return 200, self._core.metrics.page().encode(), _TEXT

    async def _run(self, request: RestRequest, receive: _Receive) -> tuple[int, bytes]:
        """Answer in a thread; meanwhile notice a client that leaves."""
        ticket = Ticket(self._options.timeout_s)
        pool = self._questions if request.is_question else self._work
        loop = asyncio.get_running_loop()
        work = loop.run_in_executor(pool, self._api.answer, request, ticket)
        leaving = asyncio.ensure_future(receive())
        both: set[asyncio.Future[Any]] = {work, leaving}
        try:
            await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
            if not work.done():
                ticket.abandon()
            return await work
        finally:
            leaving.cancel()

    async def _send(
        self,
        send: _Send,
        target: str,
        status: int,
        body: bytes,
        kind: bytes,
        close: bool = False,
    ) -> None:
        headers = [(b"content-type", kind), (b"content-length", str(len(body)).encode())]
        if self._options.cors and OUTER.fullmatch(target):
            headers += _CORS
        if close or self.draining:
            headers.append((b"connection", b"close"))
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})


class _Body:
    """Reads a request's body within the bounds of size, memory and time."""

    def __init__(self, core: Core, limit: int, receive: _Receive) -> None:
        self._core = core
        self._limit = limit
        self._receive = receive
        self._taken = 0
        self._complete = False

    async def read(self, headers: dict[bytes, bytes]) -> bytes:
        """Return the body.

        Raises:
            StatusError: RESOURCE_EXHAUSTED when it is too large, or too much is held already.
        """
        announced = headers.get(b"content-length", b"0")
        if announced.isdigit() and int(announced) > self._limit:
            raise self._too_large(int(announced))
        pieces: list[bytes] = []
        while not self._complete:
            piece = await self._piece()
            self._take(len(piece))
            pieces.append(piece)
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    async def discard(self, headers: dict[bytes, bytes]) -> None:
        """Read on for a moment and forget what comes, so that the client reads our answer."""
        if headers.get(b"expect", b"").lower() == b"100-continue" and not self._taken:
            return  # it waits for our word before it sends

        async def to_the_end() -> None:
            while not self._complete:
                await self._piece()

        with contextlib.suppress(asyncio.TimeoutError):  # long enough: it is answered now
            await asyncio.wait_for(to_the_end(), _LINGER_S)

    def release(self) -> None:
        """Give back the memory that the body took."""
        self._core.memory.give_back(self._taken)
        self._taken = 0

    async def _piece(self) -> bytes:
        try:
            message = await asyncio.wait_for(self._receive(), _BODY_IDLE_S)
        except asyncio.TimeoutError as error:
            raise _ClientLeftError from error
        if message["type"] == "http.disconnect":
            raise _ClientLeftError
        self._complete = not message.get("more_body", False)
        piece: bytes = message.get("body", b"")
        return piece

    def _take(self, size: int) -> None:
        if self._taken + size > self._limit:
            raise self._too_large(self._taken + size)
        try:
            self._core.memory.take(size)
        except StatusError as error:
            raise _TooLargeError(error.code, error.message) from error
        self._taken += size

    def _too_large(self, size: int) -> StatusError:
        return _TooLargeError(
            Code.RESOURCE_EXHAUSTED,
            f"Received message larger than max ({size} vs. {self._limit}); the request is larger "
            f"than {self._limit} bytes. Use gRPC or raise --max-request-bytes",
        )
