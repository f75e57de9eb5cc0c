"""How messages travel: one gRPC channel, or one HTTP connection a call. No knowledge of models.

Both are safe to use from several threads, and raise :class:`~tfseg_serving.status.StatusError`.
"""

from __future__ import annotations

import contextlib
import gzip
import http.client
import ipaddress
import json
import os
import socket
import ssl
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tfseg.errors import ServerError
from tfseg_serving.channels import WIDE
from tfseg_serving.status import Code, StatusError

_READ = 1 << 20
# The first code of each status that TF-Serving answers with; 502 and 504 come from proxies.
_HTTP_CODES = {code.http: code for code in reversed(Code)} | {502: Code.UNAVAILABLE}

Body = Sequence[bytes | memoryview]


def authority(host: str, port: int) -> str:
    """Return ``host:port`` as it stands in a URL."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def is_this_machine(host: str) -> bool:
    """Tell whether a host is a name or an address of the loopback, which no proxy leads to."""
    name = host.lower().rstrip(".")
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return False
    address = getattr(address, "ipv4_mapped", None) or address
    return address.is_loopback or address.is_unspecified


def _proxy_variable() -> str:
    """Return the variable whose proxy gRPC takes, in gRPC's order; empty for none."""
    names = ("grpc_proxy", "https_proxy", "http_proxy")
    return next((name for name in names if os.environ.get(name)), "")


class GrpcTransport:
    """Unary gRPC calls, with no bound on the size of messages but protobuf's 2 GiB.

    Args:
        host: name or address. Where it is this machine, no proxy is asked; else gRPC takes that
            of ``grpc_proxy``, ``https_proxy`` or ``http_proxy``, but for hosts in ``no_proxy``.
        port: number.
        credentials: of a secure channel; ``None`` for plain text.
        compress: send messages with gzip.
    """

    def __init__(self, host: str, port: int, credentials: Any, compress: bool) -> None:
        import grpc

        target = authority(host, port)
        self._proxy = "" if is_this_machine(host) else _proxy_variable()

        self._grpc = grpc
        self._closed = False
        options = {
            # gRPC's own default of 4 MiB is less than one CT slab.
            "grpc.max_send_message_length": -1,
            "grpc.max_receive_message_length": -1,
            "grpc.enable_http_proxy": int(not is_this_machine(host)),
            **WIDE,
            # Retries decide when to try again; the channel must not refuse until then.
            "grpc.initial_reconnect_backoff_ms": 100,
            "grpc.min_reconnect_backoff_ms": 100,
            "grpc.max_reconnect_backoff_ms": 1000,
        }
        how: dict[str, Any] = {
            "options": list(options.items()),
            "compression": grpc.Compression.Gzip if compress else None,
        }
        self._channel = (
            grpc.insecure_channel(target, **how)
            if credentials is None
            else grpc.secure_channel(target, credentials, **how)
        )

    def call(self, path: str, message: bytes, timeout_s: float) -> bytes:
        """Return the answer's bytes.

        Raises:
            ServerError: the message is past protobuf's limit.
            StatusError: what the server says, or UNAVAILABLE, DEADLINE_EXCEEDED, UNAUTHENTICATED
                when it says nothing.
        """
        if len(message) >= 1 << 31:
            raise ServerError(
                f"a request must be smaller than 2 GiB (protobuf's limit); the inputs take "
                f"{len(message)} bytes. Crop the volume or send it in parts."
            )
        try:
            return self._channel.unary_unary(path)(message, timeout=timeout_s)
        except self._grpc.RpcError as error:
            code, details = Code(error.code().value[0]), error.details() or ""
            if code is Code.UNAVAILABLE and "handshake" in details.lower():
                code = Code.UNAUTHENTICATED
            elif code is Code.CANCELLED and not self._closed:
                code = Code.UNAVAILABLE  # by a server that stops
            elif code is Code.DEADLINE_EXCEEDED:
                details = ""  # the deadline is this side's, whoever noticed it first
            elif code is Code.UNAVAILABLE and self._proxy and "connect" in details:
                details = (
                    f"gRPC goes through the proxy that the environment's {self._proxy} names, "
                    f"unless no_proxy lists the host: {details}"
                )
            raise StatusError(code, details) from error

    def close(self) -> None:
        """Close the channel; calls under way are cancelled."""
        self._closed = True
        self._channel.close()


@dataclass(frozen=True)
class HttpAnswer:
    """A whole answer with status 200."""

    headers: Mapping[str, str]
    body: bytes


class HttpTransport:
    """HTTP calls, each on a connection of its own.

    Args:
        host: name or address.
        port: number.
        context: of HTTPS; ``None`` for plain HTTP.
        compress: send bodies with gzip.
    """

    def __init__(
        self, host: str, port: int, context: ssl.SSLContext | None, compress: bool
    ) -> None:
        self._host, self._port, self._context, self._compress = host, port, context, compress
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()
        self._closed = False

    def call(
        self,
        method: str,
        path: str,
        timeout_s: float,
        body: Body | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> HttpAnswer:
        """Return the answer; ``timeout_s`` is for all of it, from connecting to the last byte.

        Raises:
            StatusError: what the server says (``{"error": ...}`` is read), or UNAVAILABLE,
                DEADLINE_EXCEEDED without words, UNAUTHENTICATED when it says nothing.
        """
        end = time.monotonic() + timeout_s
        try:
            with self._connected(end) as connection:
                self._send(connection, end, method, path, body, headers or {})
                status, answer = self._receive(connection, end)
        except TimeoutError as error:
            raise StatusError(Code.DEADLINE_EXCEEDED, "") from error
        except ssl.SSLError as error:
            raise StatusError(Code.UNAUTHENTICATED, str(error)) from error
        except (OSError, http.client.HTTPException) as error:
            code = Code.CANCELLED if self._closed else Code.UNAVAILABLE
            raise StatusError(code, str(error) or type(error).__name__) from error
        if status != 200:
            code = _HTTP_CODES.get(status, Code.UNKNOWN)
            raise StatusError(code, _error_text(answer.body) or f"HTTP status {status}")
        return answer

    def close(self) -> None:
        """End calls that are under way; nothing stays open between calls."""
        self._closed = True
        with self._lock:
            for one in self._open:
                with contextlib.suppress(OSError):  # it may have been closed at the other end
                    one.shutdown(socket.SHUT_RDWR)

    @contextlib.contextmanager
    def _connected(self, end: float) -> Iterator[http.client.HTTPConnection]:
        timeout = _left(end)
        connection = (
            http.client.HTTPConnection(self._host, self._port, timeout=timeout)
            if self._context is None
            else http.client.HTTPSConnection(
                self._host, self._port, timeout=timeout, context=self._context
            )
        )
        with contextlib.closing(connection):
            connection.connect()
            link = connection.sock
            with self._lock:
                self._open.add(link)
            try:
                yield connection
            finally:
                with self._lock:
                    self._open.discard(link)

    def _send(
        self,
        connection: http.client.HTTPConnection,
        end: float,
        method: str,
        path: str,
        body: Body | None,
        headers: Mapping[str, str],
    ) -> None:
        # A server that refuses early closes while the body is on its way: hear it out.
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            connection.putrequest(method, path)
            for name, value in headers.items():
                connection.putheader(name, value)
            blocks = list(body or ())
            if body is not None:
                if self._compress:
                    blocks = [gzip.compress(b"".join(blocks), compresslevel=1)]
                    connection.putheader("Content-Encoding", "gzip")
                connection.putheader("Content-Length", str(sum(map(len, blocks))))
            connection.endheaders()
            for block in blocks:
                connection.sock.settimeout(_left(end))
                connection.send(block)

    def _receive(
        self, connection: http.client.HTTPConnection, end: float
    ) -> tuple[int, HttpAnswer]:
        link = connection.sock  # getresponse() forgets it when the server will close
        link.settimeout(_left(end))
        response = connection.getresponse()
        pieces = []
        while piece := response.read1(_READ):
            pieces.append(piece)
            link.settimeout(_left(end))
        answer = b"".join(pieces)
        announced = response.headers.get("Content-Length", "0")
        if not (announced.isascii() and announced.isdigit()):
            raise http.client.HTTPException(f"Content-Length is {announced!r}")
        if len(answer) < int(announced):
            raise http.client.IncompleteRead(answer)
        return response.status, HttpAnswer(dict(response.headers.items()), answer)


def _left(end: float) -> float:
    """Return the seconds that are left.

    Raises:
        TimeoutError: none.
    """
    left = end - time.monotonic()
    if left <= 0:
        raise TimeoutError
    return left


def _error_text(answer: bytes) -> str:
    try:
        return str(json.loads(answer)["error"])
    except (ValueError, KeyError, TypeError, RecursionError):
        return ""
