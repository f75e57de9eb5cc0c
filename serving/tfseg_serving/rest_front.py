"""The REST front: TF-Serving's URLs, JSON and error texts over HTTP/1.1.

Grammar and texts are those of ``model_servers/http_rest_api_util.cc`` and
``http_rest_api_handler.cc``. Answers are compared byte for byte in the tests.
"""

from __future__ import annotations

import contextlib
import json
import logging
import re
import socket
import threading
import zlib
from http.server import BaseHTTPRequestHandler
from socketserver import TCPServer, ThreadingMixIn
from typing import Any
from urllib.parse import unquote_to_bytes

from tfseg.errors import ConfigError
from tfseg_serving import json_tensor
from tfseg_serving.core import Core
from tfseg_serving.grpc_front import port_in_use
from tfseg_serving.json_tensor import format_error, format_predict_response
from tfseg_serving.status import Code, StatusError, invalid_argument
from tfseg_serving.wire import Signature, TensorInfo, VersionStatus

_LOG = logging.getLogger(__name__)

_OUTER = re.compile(r"/v1/.*", re.IGNORECASE)
_PLACE = r"(?:(?:/versions/([0-9]+))|(?:/labels/([^/:]+)))?"
_POST = re.compile(
    rf"/v1/models/([^/:]+){_PLACE}:(classify|regress|predict)", re.IGNORECASE | re.DOTALL
)
_GET = re.compile(rf"/v1/models(?:/([^/:]+))?{_PLACE}(?:/(metadata))?", re.IGNORECASE | re.DOTALL)

_METHODS = frozenset({"GET", "POST", "HEAD", "PUT", "DELETE", "OPTIONS", "PATCH"})
_MAX_INFLATED = 100 << 20
_MAX_CONNECTIONS = 256
_IDLE_S = 75.0
_LINGER_S = 2.0
_LINGER_BLOCKS = 1 << 10
_NOT_FOUND_PAGE = (
    b"<HTML><HEAD>\n<TITLE>404 Not Found</TITLE>\n</HEAD><BODY>\n"
    b"<H1>Not Found</H1>\n</BODY></HTML>\n"
)


class _EmptyAnswerError(Exception):
    """An error that is answered with its HTTP status and an empty body."""

    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status


class _TooLargeError(Exception):
    """The request's body is over the bound."""


class _FramingError(Exception):
    """The request's body is not framed as HTTP says."""


class RestFront:
    """An HTTP server on one port.

    The port is bound by the constructor and connections are taken from :meth:`start` on.

    Args:
        core: what answers.
        host: address to bind.
        port: port to bind; 0 takes a free one.
        timeout_s: how long one prediction may take.
        max_request_bytes: larger bodies are refused with 413.

    Raises:
        ConfigError: the port is in use.
    """

    def __init__(
        self, core: Core, host: str, port: int, *, timeout_s: float, max_request_bytes: int
    ) -> None:
        try:
            self._http = _HttpServer(host, port, core, timeout_s, max_request_bytes)
        except (OSError, OverflowError) as error:
            raise ConfigError(port_in_use("--rest-port", host, port)) from error
        self.port: int = self._http.server_address[1]
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin to answer."""
        self._http.server_activate()
        self._thread = threading.Thread(
            target=self._http.serve_forever, kwargs={"poll_interval": 0.1}, name="rest", daemon=True
        )
        self._thread.start()

    def stop_accepting(self) -> None:
        """Take no new connection, end the idle ones; requests under way go on."""
        if self._thread is not None:
            self._http.shutdown()
            self._thread.join()
            self._thread = None
        self._http.server_close()
        self._http.end_connections(idle_only=True)

    def close(self) -> None:
        """Cut what is still under way."""
        self.stop_accepting()
        self._http.end_connections(idle_only=False)


class _HttpServer(ThreadingMixIn, TCPServer):  # HTTPServer would ask DNS for its own name
    daemon_threads = True
    block_on_close = False
    allow_reuse_address = True
    request_queue_size = 128

    def __init__(
        self, host: str, port: int, core: Core, timeout_s: float, max_request_bytes: int
    ) -> None:
        self.core = core
        self.timeout_s = timeout_s
        self.max_request_bytes = max_request_bytes
        self.draining = False
        self._lock = threading.Lock()
        self._busy: dict[socket.socket, bool] = {}
        if ":" in host:
            self.address_family = socket.AF_INET6
        # Bound now so that a port in use is found before models load; listening comes later,
        # so that clients are refused rather than left waiting meanwhile.
        super().__init__((host, port), _Handler, bind_and_activate=False)
        try:
            self.server_bind()
        except BaseException:
            self.server_close()
            raise

    def process_request(self, request: Any, client_address: Any) -> None:
        with self._lock:
            full = len(self._busy) >= _MAX_CONNECTIONS
            if not full:
                self._busy[request] = False
        if full:
            with contextlib.suppress(OSError):  # the client may be gone already
                request.sendall(
                    b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n"
                    b"Connection: close\r\n\r\n"
                )
            self.shutdown_request(request)
            return
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        with self._lock:
            self._busy.pop(request, None)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        _LOG.debug("connection of %s ended", client_address, exc_info=True)

    def mark(self, request: Any, busy: bool) -> None:
        with self._lock:
            if request in self._busy:
                self._busy[request] = busy

    def end_connections(self, *, idle_only: bool) -> None:
        self.draining = True
        with self._lock:
            chosen = [one for one, busy in self._busy.items() if not (idle_only and busy)]
        for connection in chosen:
            with contextlib.suppress(OSError):  # closed by the client in the meantime
                connection.shutdown(socket.SHUT_RDWR)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_version = "tfseg"
    sys_version = ""
    timeout = _IDLE_S
    disable_nagle_algorithm = True
    wbufsize = -1  # head and body leave in one write
    server: _HttpServer

    def log_message(self, format: str, *args: Any) -> None:
        _LOG.debug(format, *args)

    def __getattr__(self, name: str) -> Any:
        # The base class looks for do_GET and so on; all methods are answered in one place.
        if name.startswith("do_") and name[3:] in _METHODS:
            return self._answer
        raise AttributeError(name)

    def _answer(self) -> None:
        self.server.mark(self.connection, True)
        try:
            with self.server.core.request():
                self._respond()
                self.wfile.flush()
        except (ConnectionError, TimeoutError):
            self.close_connection = True  # the client left; nobody is there to be told
        finally:
            self.server.mark(self.connection, False)
            if self.server.draining:
                self.close_connection = True

    def _respond(self) -> None:
        try:
            body = self._read_body()
        except _TooLargeError:
            limit = self.server.max_request_bytes
            self.close_connection = True  # the rest of the body is not read
            text = f"the request is larger than {limit} bytes; use gRPC or --max-request-bytes"
            self._send(413, format_error(text))
            self._linger()
            return
        except _FramingError as error:
            self.close_connection = True
            self._send(400, format_error(str(error)))
            return
        if not _OUTER.fullmatch(self.path):
            self._send(404, _NOT_FOUND_PAGE, "text/html")
            return
        try:
            if self.command == "OPTIONS":
                origin = self.headers.get("Origin", "")
                status, answer = (200 if re.search(r"https?://", origin) else 400), b""
            else:
                status, answer = 200, self._dispatch(body)
        except _EmptyAnswerError as error:
            status, answer = error.status, b""
        except StatusError as error:
            status, answer = error.code.http, format_error(error.message)
        except Exception as error:
            _LOG.exception("a request failed")
            status, answer = 500, format_error(f"{type(error).__name__}: {error}")
        self._send(status, answer)

    def _send(self, status: int, body: bytes, content_type: str = "application/json") -> None:
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        if self.close_connection or self.server.draining:
            self.close_connection = True
            self.send_header("Connection", "close")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def _linger(self) -> None:
        """Read on for a moment: closing with unread bytes would reset the answer away."""
        self.wfile.flush()
        self.connection.shutdown(socket.SHUT_WR)
        self.connection.settimeout(_LINGER_S)
        with contextlib.suppress(OSError):  # the client stopped sending, which is the aim
            for _ in range(_LINGER_BLOCKS):
                if not self.connection.recv(1 << 16):
                    return

    # --- the body

    def _read_body(self) -> bytes:
        limit = self.server.max_request_bytes
        if "chunked" in self.headers.get("Transfer-Encoding", "").lower():
            body = self._read_chunks(limit)
        else:
            text = self.headers.get("Content-Length", "0").strip()
            if not (text.isascii() and text.isdigit()):
                raise _FramingError(f"Content-Length must be a number; got {text[:40]}")
            if int(text) > limit:
                raise _TooLargeError
            body = self._read_exactly(int(text))
        if "gzip" in self.headers.get("Content-Encoding", "").lower():
            body = _inflate(body)
        return body

    def _read_exactly(self, count: int) -> bytes:
        body = self.rfile.read(count)
        if len(body) != count:
            raise ConnectionResetError("the body ended early")
        return body

    def _read_chunks(self, limit: int) -> bytes:
        pieces: list[bytes] = []
        total = 0
        while True:
            line = self.rfile.readline(1024)
            text = line.split(b";", 1)[0].strip()
            if not re.fullmatch(rb"[0-9A-Fa-f]{1,16}", text):
                raise _FramingError("a chunk of the body has no valid size")
            size = int(text, 16)
            if size == 0:
                break
            total += size
            if total > limit:
                raise _TooLargeError
            pieces.append(self._read_exactly(size))
            self._read_exactly(2)
        while self.rfile.readline(65537).strip():
            pass
        return b"".join(pieces)

    # --- the API

    def _dispatch(self, body: bytes) -> bytes:
        matched = None
        if self.command == "POST":
            matched = _POST.fullmatch(self.path)
        elif self.command == "GET":
            matched = _GET.fullmatch(self.path)
        if not matched:
            raise self._malformed()
        name, version_text, label, verb = matched.groups()
        version = None
        if version_text:
            version = int(version_text[-4000:])
            if len(version_text.lstrip("0")) > 19 or version > 2**63 - 1:
                raise _EmptyAnswerError(400)
        name, label = _percent_decoded(name), _percent_decoded(label)
        if self.command == "POST":
            if verb == "predict":
                return self._predict(name, version, label, body)
            if verb in {"classify", "regress"}:
                raise StatusError(
                    Code.UNIMPLEMENTED, f"{verb} is not supported by this server; use predict"
                )
            raise self._malformed()
        if not name:
            raise invalid_argument("Missing model name in request.")
        if verb == "metadata":
            return self._metadata(name, version, label)
        return _status_json(self.server.core.models.status(name, version))

    def _malformed(self) -> StatusError:
        return invalid_argument(f"Malformed request: {self.command} {self.path}")

    def _predict(self, name: str, version: int | None, label: str, body: bytes) -> bytes:
        core = self.server.core
        with core.admission.slot(self.server.timeout_s) as left:
            # The text is parsed before the model is looked up: bad JSON is 400 on any model.
            held = contextlib.ExitStack()
            with held:
                servables: list[Any] = []

                def inputs_of(signature: str) -> dict[str, TensorInfo]:
                    _, servable = held.enter_context(core.models.use(name, version, label))
                    servables.append(servable)
                    found: Signature | None = servable.signatures.get(signature)
                    if found is None:
                        raise invalid_argument(
                            f'Serving signature name: "{signature}" not found in signature def'
                        )
                    return found.inputs

                signature, form, inputs = json_tensor.parse_predict_request(body, inputs_of)
                outputs = servables[0].predict(signature, inputs, timeout_s=left)
            return format_predict_response(form, outputs)

    def _metadata(self, name: str, version: int | None, label: str) -> bytes:
        with self.server.core.models.use(name, version, label) as (number, servable):
            spec = {"name": name, "signature_name": "", "version": str(number)}
            signatures = {"signature_def": _signatures_json(servable.signature_json)}
        # TF-Serving glues two documents of protobuf's printer together; so do we.
        return (
            f'{{\n"model_spec":{_protobuf_json(spec)}\n,\n"metadata": '
            f'{{"signature_def": {_protobuf_json(signatures)}\n}}\n}}\n'
        ).encode()


def _percent_decoded(text: str | None) -> str:
    return unquote_to_bytes(text or "").decode("utf-8", "surrogateescape")


def _inflate(body: bytes) -> bytes:
    """Return the body unpacked; empty when it is no gzip or too large, as TF-Serving does."""
    unpacker = zlib.decompressobj(wbits=31)
    try:
        plain = unpacker.decompress(body, _MAX_INFLATED + 1)
    except zlib.error:
        return b""
    return plain if unpacker.eof and len(plain) <= _MAX_INFLATED else b""


def _protobuf_json(document: Any) -> str:
    return json.dumps(document, indent=1, ensure_ascii=False)


def _signatures_json(signatures: dict[str, Any]) -> dict[str, Any]:
    """Return signatures with their members in TF-Serving's order."""

    def tensor(info: dict[str, Any]) -> dict[str, Any]:
        shape = info["tensor_shape"]
        ordered = {
            "dtype": info["dtype"],
            "tensor_shape": {"dim": shape["dim"], "unknown_rank": shape["unknown_rank"]},
        }
        # The rest is the tensor's name, or the names of a sparse tensor's parts.
        return ordered | {key: value for key, value in info.items() if key not in ordered}

    return {
        name: {
            "inputs": {key: tensor(info) for key, info in sorted(one["inputs"].items())},
            "outputs": {key: tensor(info) for key, info in sorted(one["outputs"].items())},
            "method_name": one["method_name"],
            "defaults": one["defaults"],
        }
        for name, one in signatures.items()
    }


def _status_json(statuses: list[VersionStatus]) -> bytes:
    document = {
        "model_version_status": [
            {
                "version": str(one.version),
                "state": one.state,
                "status": {"error_code": Code(one.code).name, "error_message": one.message},
            }
            for one in statuses
        ]
    }
    return (_protobuf_json(document) + "\n").encode("utf-8", "surrogateescape")
