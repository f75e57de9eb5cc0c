"""The client: one server, one protocol, calls that are tried again where that is safe."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar
from urllib.parse import urlsplit

from numpy.typing import NDArray

from tfseg.errors import ConfigError, unknown_name
from tfseg_serving.client.kserve import KServeGrpc, KServeRest
from tfseg_serving.client.protocol import ServerProtocol
from tfseg_serving.client.refusals import refusal
from tfseg_serving.client.retries import Retries
from tfseg_serving.client.tfserving import TfServingGrpc, TfServingRest
from tfseg_serving.client.tls import Tls
from tfseg_serving.client.transports import GrpcTransport, HttpTransport, authority
from tfseg_serving.status import StatusError
from tfseg_serving.wire import Metadata, ModelSpec, VersionStatus, WireError

SEGMENT = "segment"
PROTOCOLS = ("tfserving", "kserve")

_Answer = TypeVar("_Answer")

_FORM = "grpc://HOST:PORT or http://HOST:PORT, or grpcs:// or https:// with TLS"
_SECURE = {"grpc": False, "grpcs": True, "http": False, "https": True}


class Client:
    """Calls to one server; nothing is sent before the first. Threads may share it.

    Every call raises :class:`~tfseg.errors.ServerError` when the server cannot be reached, does
    not know the model, the version or the signature, refuses the inputs, or is too late.

    Args:
        url: ``grpc://HOST:PORT`` or ``http://HOST:PORT``; ``grpcs`` and ``https`` with TLS.
        protocol: one of :data:`PROTOCOLS`.
        tls: which certificates to believe and to show; for ``grpcs`` and ``https`` only.
        compress: send requests with gzip: worth it on a slow network only. TF-Serving's REST
            side takes at most 100 MiB of JSON that way.
        retries: of calls that did not reach the server, or found it too busy.

    Attributes:
        url: of the server.
        protocol: that is spoken.

    Raises:
        ConfigError: the URL is of another form, the protocol is unknown, or the certificates
            are no good.
        DataError: a certificate file cannot be read.
    """

    def __init__(
        self,
        url: str,
        *,
        protocol: str = "tfserving",
        tls: Tls | None = None,
        compress: bool = False,
        retries: Retries | None = None,
    ) -> None:
        if protocol not in PROTOCOLS:
            raise unknown_name("protocol", protocol, PROTOCOLS)
        scheme, host, port = _parse(url)
        if tls is not None and not _SECURE[scheme]:
            raise ConfigError(
                f"--ca, --cert and --key need grpcs:// or https://; got {url!r}, which is not "
                "encrypted."
            )
        self.url = f"{scheme}://{authority(host, port)}"
        self.protocol = protocol
        self._retries = Retries() if retries is None else retries
        self._server: ServerProtocol
        chosen = tls or Tls()
        if scheme.startswith("grpc"):
            credentials = chosen.grpc_credentials() if _SECURE[scheme] else None
            channel = GrpcTransport(host, port, credentials, compress)
            grpc_kind = TfServingGrpc if protocol == "tfserving" else KServeGrpc
            self._server = grpc_kind(self.url, channel)
        else:
            context = chosen.https_context() if _SECURE[scheme] else None
            rest_kind = TfServingRest if protocol == "tfserving" else KServeRest
            self._server = rest_kind(self.url, HttpTransport(host, port, context, compress))

    def predict(
        self,
        name: str,
        inputs: Mapping[str, NDArray[Any]],
        signature: str = SEGMENT,
        version: int | None = None,
        timeout_s: float = 600.0,
    ) -> dict[str, NDArray[Any]]:
        """Run a signature and return its outputs by name; ``version=None`` is the latest.

        Output arrays may be read-only: over gRPC they are views of the answer.

        Raises:
            ConfigError: an array's data type has no counterpart in the protocol.
            ServerError: see above.
        """
        spec = ModelSpec(name, version, signature=signature)
        try:
            return self._call(
                lambda left_s: self._server.predict(spec, inputs, left_s), spec, timeout_s
            )
        except WireError as error:
            raise ConfigError(f"{error}. Convert it first.") from error

    def metadata(self, name: str, version: int | None = None, timeout_s: float = 60.0) -> Metadata:
        """Return the signatures of a model and the version that has them."""
        spec = ModelSpec(name, version)
        return self._call(lambda left_s: self._server.metadata(spec, left_s), spec, timeout_s)

    def status(
        self, name: str, version: int | None = None, timeout_s: float = 60.0
    ) -> list[VersionStatus]:
        """Return the state of the versions of a model, newest first."""
        spec = ModelSpec(name, version)
        return self._call(lambda left_s: self._server.status(spec, left_s), spec, timeout_s)

    def close(self) -> None:
        """Close the connection; calls under way end with an error."""
        self._server.close()

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def _call(
        self, attempt: Callable[[float], _Answer], spec: ModelSpec, timeout_s: float
    ) -> _Answer:
        try:
            return self._retries.call(attempt, timeout_s)
        except StatusError as error:
            raise refusal(self.url, spec, error, timeout_s) from error


def connect(url: str, *, compress: bool = False) -> Client:
    """Return a client of a TF-Serving server with the usual settings; see :class:`Client`."""
    return Client(url, compress=compress)


def _parse(url: str) -> tuple[str, str, int]:
    """Return scheme, host and port."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise ConfigError(f"the server's URL must be {_FORM}; got {url!r}: {error}.") from error
    rest = parts.path.strip("/") or parts.query or parts.fragment or parts.username
    if parts.scheme not in _SECURE or not parts.hostname or not port or rest:
        raise ConfigError(f"the server's URL must be {_FORM}; got {url!r}.")
    return parts.scheme, parts.hostname, port
