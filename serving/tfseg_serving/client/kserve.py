"""KServe's open inference protocol, version 2, over gRPC and over REST with binary tensors.

A model has one set of inputs and outputs there. It is shown as the signature
``serving_default``, so that a caller need not know which protocol it speaks.
"""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import quote

import numpy as np
from numpy.typing import NDArray

from tfseg_serving.client.protocol import Inputs
from tfseg_serving.client.refusals import decoded, no_model_server
from tfseg_serving.client.transports import GrpcTransport, HttpTransport
from tfseg_serving.status import Code, StatusError
from tfseg_serving.wire import (
    DEFAULT_SIGNATURE,
    Metadata,
    ModelSpec,
    Signature,
    VersionStatus,
    WireError,
    kserve,
)

# Where the JSON ends and the tensors' bytes begin (the extension "binary tensor data").
_JSON_SIZE = "Inference-Header-Content-Length"
# What a document raises that is no answer of such a server, however deep it is nested.
_NO_ANSWER = (KeyError, TypeError, ValueError, AttributeError, ArithmeticError, RecursionError)


class KServeGrpc:
    """The protocol over gRPC: tensors as raw bytes both ways."""

    def __init__(self, url: str, transport: GrpcTransport) -> None:
        self._url, self._transport = url, transport

    def predict(self, spec: ModelSpec, inputs: Inputs, timeout_s: float) -> dict[str, NDArray[Any]]:
        """Run the model; the outputs are views of the answer."""
        _check_signature(spec)
        message = kserve.encode_infer_request(spec.name, spec.version, inputs)
        answer = self._transport.call(kserve.MODEL_INFER, message, timeout_s)
        return decoded(self._url, kserve.decode_infer_response, answer)

    def metadata(self, spec: ModelSpec, timeout_s: float) -> Metadata:
        """Ask for inputs and outputs."""
        return _as_signature(spec, self._metadata(spec, timeout_s))

    def status(self, spec: ModelSpec, timeout_s: float) -> list[VersionStatus]:
        """Ask for the versions, and whether each is ready."""
        message = kserve.encode_model_request
        return [
            _status(
                version,
                decoded(
                    self._url,
                    kserve.decode_model_ready,
                    self._transport.call(
                        kserve.MODEL_READY, message(spec.name, version), timeout_s
                    ),
                ),
            )
            for version in _versions(spec, self._metadata(spec, timeout_s))
        ]

    def close(self) -> None:
        """Close the channel."""
        self._transport.close()

    def _metadata(self, spec: ModelSpec, timeout_s: float) -> kserve.ModelMetadata:
        message = kserve.encode_model_request(spec.name, spec.version)
        answer = self._transport.call(kserve.MODEL_METADATA, message, timeout_s)
        return decoded(self._url, kserve.decode_model_metadata, answer)


class KServeRest:
    """The protocol over HTTP, with the tensors' bytes behind the JSON."""

    def __init__(self, url: str, transport: HttpTransport) -> None:
        self._url, self._transport = url, transport

    def predict(self, spec: ModelSpec, inputs: Inputs, timeout_s: float) -> dict[str, NDArray[Any]]:
        """Run the model; outputs that come as bytes are views of the answer."""
        _check_signature(spec)
        contents = {name: kserve.raw_tensor(array) for name, array in inputs.items()}
        request = {
            "inputs": [
                {
                    "name": name,
                    "shape": list(array.shape),
                    "datatype": kserve.datatype_of(array),
                    "parameters": {"binary_data_size": len(contents[name])},
                }
                for name, array in inputs.items()
            ],
            "parameters": {"binary_data_output": True},
        }
        head = json.dumps(request).encode()
        answer = self._transport.call(
            "POST",
            f"{_path(spec.name, spec.version)}/infer",
            timeout_s,
            [head, *contents.values()],
            {"Content-Type": "application/octet-stream", _JSON_SIZE: str(len(head))},
        )
        headers = {name.lower(): value for name, value in answer.headers.items()}
        try:
            end = int(headers.get(_JSON_SIZE.lower(), len(answer.body)))
            return _outputs(json.loads(answer.body[:end]), memoryview(answer.body)[end:])
        except _NO_ANSWER as error:
            raise no_model_server(self._url, error) from error

    def metadata(self, spec: ModelSpec, timeout_s: float) -> Metadata:
        """Ask for inputs and outputs."""
        return _as_signature(spec, self._metadata(spec, timeout_s))

    def status(self, spec: ModelSpec, timeout_s: float) -> list[VersionStatus]:
        """Ask for the versions, and whether each is ready."""
        found = self._metadata(spec, timeout_s)
        return [
            _status(version, self._is_ready(spec.name, version, timeout_s))
            for version in _versions(spec, found)
        ]

    def close(self) -> None:
        """End calls that are under way."""
        self._transport.close()

    def _is_ready(self, name: str, version: int | None, timeout_s: float) -> bool:
        try:
            self._transport.call("GET", f"{_path(name, version)}/ready", timeout_s)
        except StatusError as error:
            if error.code in {Code.DEADLINE_EXCEEDED, Code.UNAUTHENTICATED, Code.CANCELLED}:
                raise
            return False  # "not ready" is an error status here
        return True

    def _metadata(self, spec: ModelSpec, timeout_s: float) -> kserve.ModelMetadata:
        answer = self._transport.call("GET", _path(spec.name, spec.version), timeout_s)
        try:
            document = json.loads(answer.body)
            inputs, outputs = (
                {
                    one["name"]: kserve.tensor_info(
                        one["datatype"], tuple(int(size) for size in one["shape"])
                    )
                    for one in document[key]
                }
                for key in ("inputs", "outputs")
            )
            versions = tuple(str(one) for one in document.get("versions") or ())
            return kserve.ModelMetadata(spec.name, versions, inputs, outputs)
        except _NO_ANSWER as error:
            raise no_model_server(self._url, error) from error


def _path(name: str, version: int | None) -> str:
    place = "" if version is None else f"/versions/{version}"
    return f"/v2/models/{quote(name, safe='')}{place}"


def _check_signature(spec: ModelSpec) -> None:
    if spec.signature not in {"", DEFAULT_SIGNATURE}:
        raise StatusError(Code.FAILED_PRECONDITION, f'"{spec.signature}" not found')


def _as_signature(spec: ModelSpec, found: kserve.ModelMetadata) -> Metadata:
    signature = Signature(found.inputs, found.outputs)
    return Metadata(spec.name, _versions(spec, found)[0] or 0, {DEFAULT_SIGNATURE: signature})


def _versions(spec: ModelSpec, found: kserve.ModelMetadata) -> list[int | None]:
    """Return the versions to ask about, newest first; ``None`` for a server without numbers."""
    if spec.version is not None:
        return [spec.version]
    numbers = [int(version) for version in found.versions if version.isdecimal()]
    return [*sorted(numbers, reverse=True)] or [None]


def _status(version: int | None, ready: bool) -> VersionStatus:
    # The protocol knows no more states than these two.
    return VersionStatus(version or 0, "AVAILABLE" if ready else "UNKNOWN")


def _outputs(document: Any, contents: memoryview) -> dict[str, NDArray[Any]]:
    """Return the outputs of an answer, whose bytes follow in the order of the JSON."""
    outputs: dict[str, NDArray[Any]] = {}
    at = 0
    for one in document["outputs"]:
        shape = tuple(int(size) for size in one["shape"])
        size = (one.get("parameters") or {}).get("binary_data_size")
        if size is not None:
            data = contents[at : at + int(size)]
            outputs[one["name"]] = kserve.tensor_from_raw(data, one["datatype"], shape)
            at += int(size)
            continue
        kind = kserve.datatype_named(one["datatype"])
        if kind is None:
            raise WireError(f"data type {one['datatype']!r} is not supported")
        outputs[one["name"]] = np.array(one["data"], kind.numpy).reshape(shape)
    return outputs
