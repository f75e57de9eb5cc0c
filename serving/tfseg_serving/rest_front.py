"""The REST front's server: uvicorn on one port, in a thread of its own."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import ssl
import threading
from typing import Any

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from tfseg.errors import ConfigError
from tfseg_serving.core import Core
from tfseg_serving.ports import port_in_use
from tfseg_serving.rest_app import RestApp, RestOptions

_LOG = logging.getLogger(__name__)

_MAX_CONNECTIONS = 1024
_BACKLOG = 128
_PATIENCE_S = 75  # for the head of a request, on a new connection or between two requests
_STALL_S = 30.0  # for a client to read on
_MAX_HEAD_BYTES = 64 << 10


class RestFront:
    """An HTTP server on one port.

    The port is bound by the constructor and connections are taken from :meth:`start` on, so that
    a port in use is found before models load and clients are refused, not left waiting, meanwhile.

    Args:
        core: what answers.
        host: address to bind.
        port: port to bind; 0 takes a free one.
        options: bounds and extras.
        tls: speak HTTPS.

    Raises:
        ConfigError: the port is in use.
    """

    def __init__(
        self,
        core: Core,
        host: str,
        port: int,
        options: RestOptions,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._app = RestApp(core, options)
        config = uvicorn.Config(
            self._app,
            http=_Connection,
            ws="none",
            loop="asyncio",
            lifespan="off",
            interface="asgi3",
            log_config=None,
            log_level="error",  # uvicorn warns of each malformed request
            access_log=False,
            server_header=False,
            proxy_headers=False,
            backlog=_BACKLOG,
            limit_concurrency=_MAX_CONNECTIONS,
            timeout_keep_alive=_PATIENCE_S,
        )
        config.load()
        config.ssl = tls
        self._server = uvicorn.Server(config)
        self._socket = _bound_socket(host, port)
        self.port: int = self._socket.getsockname()[1]
        self._host = host
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._listening = threading.Event()

    def start(self) -> None:
        """Begin to answer.

        Raises:
            ConfigError: another process took the port in the meantime.
        """
        self._thread = threading.Thread(target=self._run, name="rest", daemon=True)
        self._thread.start()
        self._listening.wait()
        if not self._server.started:
            raise ConfigError(port_in_use("--rest-port", self._host, self.port))

    def _run(self) -> None:
        async def serve() -> None:
            self._loop = asyncio.get_running_loop()
            serving = asyncio.ensure_future(self._server.serve([self._socket]))
            while not self._server.started and not serving.done():
                await asyncio.sleep(0.005)
            self._listening.set()
            await serving

        try:
            asyncio.run(serve())
        except OSError:
            _LOG.exception("the REST port cannot be listened on")
        finally:
            self._listening.set()

    def stop_accepting(self) -> None:
        """Take no new connection, end the idle ones; requests under way go on."""
        self._app.draining = True
        self._server.should_exit = True
        if self._thread is None:
            self._socket.close()

    def close(self) -> None:
        """Cut what is still under way."""
        self.stop_accepting()
        self._server.force_exit = True
        if self._thread is not None:
            if self._loop is not None:
                with contextlib.suppress(RuntimeError):  # the loop has ended by itself
                    self._loop.call_soon_threadsafe(self._abort_connections)
            self._thread.join(timeout=10)
            self._thread = None
        self._app.close()

    def _abort_connections(self) -> None:
        for connection in list(self._server.server_state.connections):
            connection.transport.abort()


class _Connection(HttpToolsProtocol):
    """uvicorn's connection, with bounds for clients that are slow, silent or gone.

    It waits ``_PATIENCE_S`` for the whole head of a request, takes ``_MAX_HEAD_BYTES`` of it, and
    drops a client that reads nothing of its answer for ``_STALL_S``.
    """

    _waiting: asyncio.TimerHandle | None = None
    _head_bytes = 0

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_waiting()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self.cycle is not None and not self.cycle.response_complete:
            return
        self._head_bytes += len(data)
        if self._head_bytes > _MAX_HEAD_BYTES and not self.transport.is_closing():
            self.send_400_response("The head of the request is too large.")

    def on_headers_complete(self) -> None:
        self._stop_waiting()
        self._head_bytes = 0
        super().on_headers_complete()

    def on_message_begin(self) -> None:
        super().on_message_begin()
        # The first line as it came: ASGI takes it apart and loses a lone "?".
        self.scope["target"] = b""  # type: ignore[typeddict-unknown-key]

    def on_url(self, url: bytes) -> None:
        super().on_url(url)
        self.scope["target"] += url  # type: ignore[typeddict-item]

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._watch_reading(self.transport.get_write_buffer_size() + 1)
        if self.cycle.response_complete:
            self._await_head()

    def _await_head(self) -> None:
        self._stop_waiting()
        self._waiting = self.loop.call_later(_PATIENCE_S, self.transport.abort)

    def _stop_waiting(self) -> None:
        if self._waiting is not None:
            self._waiting.cancel()
            self._waiting = None

    def _watch_reading(self, before: int) -> None:
        """Look now and then whether the client reads what was written."""
        left = self.transport.get_write_buffer_size()
        if not left:
            return
        if left >= before:
            self.transport.abort()
            return
        self.loop.call_later(_STALL_S, self._watch_reading, left)


def _bound_socket(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    bound = socket.socket(family, socket.SOCK_STREAM)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind((host, port))
    except (OSError, OverflowError) as error:
        bound.close()
        raise ConfigError(port_in_use("--rest-port", host, port)) from error
    return bound
