"""A light client of TF-Serving's API, over gRPC or REST. Imports no TensorFlow.

with connect("grpc://localhost:8500") as client:
    labels = client.predict("unet", {"volume": volume, "spacing_mm": spacing})["labels"]
"""

from __future__ import annotations

import abc
import base64
import contextlib
import gzip
import http.client
import json
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import quote, urlsplit

import numpy as np
from numpy.typing import NDArray

from tfseg.errors import ConfigError, ServerError
from tfseg_serving import wire
from tfseg_serving.status import Code
from tfseg_serving.wire import Metadata, ModelSpec, Signature, TensorInfo, VersionStatus, WireError

SEGMENT = "segment"

_FORM = "grpc://HOST:PORT or http://HOST:PORT"
_BLOCK = 1 << 16


class Client(abc.ABC):
    """What both transports offer.

    Every method raises :class:`~tfseg.errors.ServerError` when the server cannot be reached,
    does not know the model, the version or the signature, refuses the inputs, or is too late.

    Attributes:
        url: of the server, as :func:`connect` takes it.
    """

    url: str

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
        """
        return self._predict(ModelSpec(name, version, signature=signature), inputs, timeout_s)

    def metadata(self, name: str, version: int | None = None, timeout_s: float = 60.0) -> Metadata:
        """Return the signatures of a model and the version that has them."""
        return self._metadata(ModelSpec(name, version), timeout_s)

    def status(
        self, name: str, version: int | None = None, timeout_s: float = 60.0
    ) -> list[VersionStatus]:
        """Return the state of the versions of a model, newest first."""
        return self._status(ModelSpec(name, version), timeout_s)

    @abc.abstractmethod
    def close(self) -> None:
        """Close the connection."""

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    @abc.abstractmethod
    def _predict(
        self, spec: ModelSpec, inputs: Mapping[str, NDArray[Any]], timeout_s: float
    ) -> dict[str, NDArray[Any]]: ...

    @abc.abstractmethod
    def _metadata(self, spec: ModelSpec, timeout_s: float) -> Metadata: ...

    @abc.abstractmethod
    def _status(self, spec: ModelSpec, timeout_s: float) -> list[VersionStatus]: ...


def connect(url: str, *, compress: bool = False) -> Client:
    """Return a client for a server; nothing is sent yet.

    Args:
        url: ``grpc://HOST:PORT`` or ``http://HOST:PORT``.
        compress: send requests with gzip: worth it on a slow network only. TF-Serving's REST
            side takes at most 100 MiB of JSON that way.

    Raises:
        ConfigError: the URL is of another form.
    """
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise ConfigError(f"the server's URL must be {_FORM}; got {url!r}: {error}.") from error
    rest = parts.path.strip("/") or parts.query or parts.fragment or parts.username
    if parts.scheme not in {"grpc", "http"} or not parts.hostname or not port or rest:
        raise ConfigError(f"the server's URL must be {_FORM}; got {url!r}.")
    kind = GrpcClient if parts.scheme == "grpc" else RestClient
    return kind(parts.hostname, port, compress)


class GrpcClient(Client):
    """The API over gRPC, with no bound on the size of messages but protobuf's 2 GiB."""

    def __init__(self, host: str, port: int, compress: bool = False) -> None:
        import grpc

        target = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        self.url = f"grpc://{target}"
        self._grpc = grpc
        self._channel = grpc.insecure_channel(
            target,
            options=[
                # gRPC's own default of 4 MiB is less than one CT slab.
                ("grpc.max_send_message_length", -1),
                ("grpc.max_receive_message_length", -1),
            ],
            compression=grpc.Compression.Gzip if compress else None,
        )

    def _call(self, path: str, message: bytes, spec: ModelSpec, timeout_s: float) -> bytes:
        try:
            return self._channel.unary_unary(path)(message, timeout=timeout_s)
        except self._grpc.RpcError as error:
            code = Code(error.code().value[0])
            raise _refusal(self.url, spec, code, error.details() or "", timeout_s) from error

    def _predict(
        self, spec: ModelSpec, inputs: Mapping[str, NDArray[Any]], timeout_s: float
    ) -> dict[str, NDArray[Any]]:
        message = wire.encode_predict_request(spec, inputs)
        if len(message) >= 1 << 31:
            raise ServerError(
                f"a request must be smaller than 2 GiB (protobuf's limit); the inputs take "
                f"{len(message)} bytes. Crop the volume or send it in parts."
            )
        answer = self._call(wire.PREDICT, message, spec, timeout_s)
        return _decoded(self.url, wire.decode_predict_response, answer)[1]

    def _metadata(self, spec: ModelSpec, timeout_s: float) -> Metadata:
        message = wire.encode_metadata_request(spec)
        answer = self._call(wire.GET_MODEL_METADATA, message, spec, timeout_s)
        return _decoded(self.url, wire.decode_metadata_response, answer)

    def _status(self, spec: ModelSpec, timeout_s: float) -> list[VersionStatus]:
        message = wire.encode_status_request(spec)
        answer = self._call(wire.GET_MODEL_STATUS, message, spec, timeout_s)
        return _decoded(self.url, wire.decode_status_response, answer)

    def close(self) -> None:
        """Close the channel."""
        self._channel.close()


class RestClient(Client):
    """The API over HTTP and JSON: for small volumes, and where nothing but HTTP passes."""

    def __init__(self, host: str, port: int, compress: bool = False) -> None:
        self._host, self._port, self._compress = host, port, compress
        self.url = f"http://{f'[{host}]' if ':' in host else host}:{port}"

    def _call(
        self, method: str, path: str, spec: ModelSpec, timeout_s: float, body: list[bytes] | None
    ) -> Any:
        connection = http.client.HTTPConnection(self._host, self._port, timeout=timeout_s)
        headers = {}
        if body is not None:
            headers["Content-Type"] = "application/json"
            if self._compress:
                body = [gzip.compress(b"".join(body), compresslevel=1)]
                headers["Content-Encoding"] = "gzip"
            headers["Content-Length"] = str(sum(map(len, body)))
        try:
            # A server that refuses early closes while the body is on its way: hear it out.
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                connection.request(method, path, body, headers)
            response = connection.getresponse()
            status, answer = response.status, response.read()
        except TimeoutError as error:
            raise _refusal(self.url, spec, Code.DEADLINE_EXCEEDED, "", timeout_s) from error
        except (OSError, http.client.HTTPException) as error:
            raise _refusal(self.url, spec, Code.UNAVAILABLE, str(error), timeout_s) from error
        finally:
            connection.close()
        try:
            document: Any = json.loads(answer) if status == 200 else _error_text(answer)
        except ValueError as error:
            raise ServerError(
                f"{self.url} answers with something that is no JSON; is it a model server?"
            ) from error
        if status != 200:
            code = _HTTP_CODES.get(status, Code.UNKNOWN)
            raise _refusal(self.url, spec, code, document or f"HTTP status {status}", timeout_s)
        return document

    def _predict(
        self, spec: ModelSpec, inputs: Mapping[str, NDArray[Any]], timeout_s: float
    ) -> dict[str, NDArray[Any]]:
        # An answer with one output leaves its name out, and JSON has no data types: ask first.
        metadata = self.metadata(spec.name, spec.version, timeout_s)
        known = metadata.signatures.get(spec.signature)
        if known is None:
            raise _refusal(
                self.url, spec, Code.FAILED_PRECONDITION, f'"{spec.signature}" not found', timeout_s
            )
        body = _joined(_json_body(spec.signature, inputs, known))
        document = self._call("POST", f"{_path(spec)}:predict", spec, timeout_s, body)
        outputs: Any = document.get("outputs") if isinstance(document, dict) else None
        if outputs is not None and len(known.outputs) == 1:
            outputs = {next(iter(known.outputs)): outputs}
        try:
            return {
                output: _from_json(outputs[output], info) for output, info in known.outputs.items()
            }
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise ServerError(
                f"{self.url} answers {spec.name!r} with outputs that do not fit its own signature: "
                f"{error}. Is it a model server?"
            ) from error

    def _metadata(self, spec: ModelSpec, timeout_s: float) -> Metadata:
        document = self._call("GET", f"{_path(spec)}/metadata", spec, timeout_s, None)
        try:
            signatures = document["metadata"]["signature_def"]["signature_def"]
            return Metadata(
                spec.name,
                int(document["model_spec"]["version"]),
                {key: _signature_from_json(one) for key, one in signatures.items()},
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise _no_model_server(self.url, error) from error

    def _status(self, spec: ModelSpec, timeout_s: float) -> list[VersionStatus]:
        document = self._call("GET", _path(spec), spec, timeout_s, None)
        try:
            return [
                VersionStatus(
                    int(one["version"]),
                    one["state"],
                    int(Code[one["status"]["error_code"]]),
                    one["status"]["error_message"],
                )
                for one in document["model_version_status"]
            ]
        except (KeyError, TypeError, ValueError) as error:
            raise _no_model_server(self.url, error) from error

    def close(self) -> None:
        """Nothing stays open between calls."""


# The first code of each status that TF-Serving answers with.
_HTTP_CODES = {code.http: code for code in reversed(Code)}


def _refusal(url: str, spec: ModelSpec, code: Code, details: str, timeout_s: float) -> ServerError:
    """Return the error for a failed call, with what to do about it."""
    what = f"{spec.name!r}" if spec.version is None else f"{spec.name!r} version {spec.version}"
    details = " ".join(details.split())[:300].rstrip(".")
    if code is Code.UNAVAILABLE:
        text = (
            f"no server answers at {url} ({details}). Start one with `tfseg serve`, "
            "or mend the URL."
        )
    elif code is Code.DEADLINE_EXCEEDED:
        text = f"{url} gave no answer within {timeout_s:g} s. Allow more with --timeout."
    elif code is Code.NOT_FOUND:
        text = f"the model {what} is not served at {url} ({details}). Check name and version."
    elif f'"{spec.signature}" not found' in details:
        text = (
            f"the model {what} at {url} has no signature {spec.signature!r}. "
            "Export it again with `tfseg export --format savedmodel`."
        )
    elif code is Code.UNIMPLEMENTED:
        text = f"{url} does not offer this call ({details}). Is it a TF-Serving model server?"
    elif code is Code.RESOURCE_EXHAUSTED:
        text = f"{url} refuses the request as too much: {details}. Send less, or later."
    else:
        text = f"{url} refuses the request for {what}: {code.name}: {details}."
    return ServerError(text)


def _no_model_server(url: str, error: Exception) -> ServerError:
    return ServerError(
        f"{url} answers with JSON of another form ({type(error).__name__}: {error}). "
        "Is it a TF-Serving model server?"
    )


def _decoded(url: str, decode: Any, message: bytes) -> Any:
    try:
        return decode(message)
    except WireError as error:
        raise ServerError(f"{url} answers with a message that cannot be read: {error}.") from error


def _path(spec: ModelSpec) -> str:
    place = "" if spec.version is None else f"/versions/{spec.version}"
    return f"/v1/models/{quote(spec.name, safe='')}{place}"


def _error_text(answer: bytes) -> str:
    try:
        return str(json.loads(answer)["error"])
    except (ValueError, KeyError, TypeError):
        return ""


def _signature_from_json(document: Any) -> Signature:
    def tensors(infos: Any) -> dict[str, TensorInfo]:
        return {
            name: TensorInfo(
                wire.data_type_named(info["dtype"]),
                None
                if info["tensor_shape"]["unknown_rank"]
                else tuple(int(dim["size"]) for dim in info["tensor_shape"]["dim"]),
                info.get("name", ""),
            )
            for name, info in infos.items()
        }

    return Signature(
        tensors(document["inputs"]), tensors(document["outputs"]), document["method_name"]
    )


# --- JSON of tensors ----------------------------------------------------------------------


def _json_body(
    signature: str, inputs: Mapping[str, NDArray[Any]], known: Signature
) -> Iterator[bytes]:
    """Yield the request in blocks, in column form."""
    yield f'{{"signature_name":{json.dumps(signature)},"inputs":{{'.encode()
    for position, (name, array) in enumerate(inputs.items()):
        yield f"{',' if position else ''}{json.dumps(name)}:".encode()
        expected = known.inputs.get(name)
        if expected and expected.dtype in wire.DATA_TYPES:
            # JSON tells 1 from 1.0: integers are written as such for integer inputs only.
            whole = wire.DATA_TYPES[expected.dtype].numpy.kind in "iu"
            if whole and array.dtype.kind == "f":
                raise ServerError(
                    f"input {name!r} takes {wire.DATA_TYPES[expected.dtype].name}; "
                    f"got {array.dtype}. Convert it first."
                )
        yield from _json_array(array)
    yield b"}}"


def _json_array(array: NDArray[Any]) -> Iterator[bytes]:
    if array.dtype.kind in "SUO":
        yield json.dumps(_base64_objects(array)).encode()
    elif array.size <= _BLOCK:
        yield _json_block(array)
    else:
        parts = array if array.ndim > 1 else np.split(array, range(_BLOCK, len(array), _BLOCK))
        for position, part in enumerate(parts):
            yield b"," if position else b"["
            if array.ndim > 1:
                yield from _json_array(part)
            else:
                yield _numbers(part)
        yield b"]"


def _json_block(array: NDArray[Any]) -> bytes:
    """Return a small array as JSON; floats with as few digits as read back exactly."""
    if array.dtype.kind != "f" or not array.size:
        return json.dumps(array.tolist(), separators=(",", ":")).encode()
    texts = _numbers(array.reshape(-1)).decode().split(",")
    for size in reversed(array.shape):
        texts = [f"[{','.join(texts[at : at + size])}]" for at in range(0, len(texts), size)]
    return texts[0].encode()


def _joined(pieces: Iterator[bytes]) -> list[bytes]:
    """Return the same bytes in pieces of about a MiB, each one call to the socket."""
    blocks: list[bytes] = []
    waiting: list[bytes] = []
    size = 0
    for piece in pieces:
        waiting.append(piece)
        size += len(piece)
        if size >= 1 << 20:
            blocks.append(b"".join(waiting))
            waiting, size = [], 0
    return [*blocks, b"".join(waiting)]


def _numbers(flat: NDArray[Any]) -> bytes:
    if flat.dtype.kind != "f":
        return json.dumps(flat.tolist(), separators=(",", ":"))[1:-1].encode()
    form = "%.17g" if flat.dtype == np.float64 else "%.9g"
    text = ",".join(map(form.__mod__, flat.tolist()))
    # Python writes nan and inf; TF-Serving's parser wants JavaScript's names.
    return text.replace("nan", "NaN").replace("inf", "Infinity").encode()


def _base64_objects(array: NDArray[Any]) -> Any:
    holder = np.empty(array.size, np.object_)
    holder[:] = [{"b64": base64.b64encode(wire.as_bytes(one)).decode()} for one in array.flat]
    return holder.reshape(array.shape).tolist()


def _from_json(value: Any, info: TensorInfo) -> NDArray[Any]:
    kind = wire.DATA_TYPES.get(info.dtype)
    if kind is None:
        raise ValueError(f"data type {info.dtype} is not supported")
    if kind is not wire.STRING:
        return np.array(value, kind.numpy)
    return np.array(_to_bytes(value), np.object_)


def _to_bytes(value: Any) -> Any:
    if isinstance(value, list):
        return [_to_bytes(element) for element in value]
    if isinstance(value, dict):
        return base64.b64decode(value["b64"])
    return wire.as_bytes(value)
