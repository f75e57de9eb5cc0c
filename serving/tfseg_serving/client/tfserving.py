"""TF-Serving's API, over gRPC and over REST."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from numpy.typing import NDArray

from tfseg.errors import ServerError
from tfseg_serving import wire
from tfseg_serving.client.json_tensors import (
    array_from_json,
    has_rows,
    joined,
    parsed,
    predict_body,
    signature_from_json,
)
from tfseg_serving.client.protocol import Inputs
from tfseg_serving.client.refusals import decoded, no_model_server
from tfseg_serving.client.transports import Body, GrpcTransport, HttpTransport
from tfseg_serving.status import Code, StatusError
from tfseg_serving.wire import Metadata, ModelSpec, VersionStatus


class TfServingGrpc:
    """The API over gRPC: tensors as raw bytes both ways."""

    def __init__(self, url: str, transport: GrpcTransport) -> None:
        self._url, self._transport = url, transport

    def predict(self, spec: ModelSpec, inputs: Inputs, timeout_s: float) -> dict[str, NDArray[Any]]:
        """Run a signature; the outputs are views of the answer."""
        message = wire.encode_predict_request(spec, inputs)
        answer = self._transport.call(wire.PREDICT, message, timeout_s)
        return decoded(self._url, wire.decode_predict_response, answer)[1]

    def metadata(self, spec: ModelSpec, timeout_s: float) -> Metadata:
        """Ask for the signatures."""
        message = wire.encode_metadata_request(spec)
        answer = self._transport.call(wire.GET_MODEL_METADATA, message, timeout_s)
        return decoded(self._url, wire.decode_metadata_response, answer)

    def status(self, spec: ModelSpec, timeout_s: float) -> list[VersionStatus]:
        """Ask for the state of the versions."""
        message = wire.encode_status_request(spec)
        answer = self._transport.call(wire.GET_MODEL_STATUS, message, timeout_s)
        return decoded(self._url, wire.decode_status_response, answer)

    def close(self) -> None:
        """Close the channel."""
        self._transport.close()


class TfServingRest:
    """The API over HTTP and JSON: for small volumes, and where nothing but HTTP passes."""

    def __init__(self, url: str, transport: HttpTransport) -> None:
        self._url, self._transport = url, transport
        self._known: dict[tuple[str, int], Metadata] = {}

    def predict(self, spec: ModelSpec, inputs: Inputs, timeout_s: float) -> dict[str, NDArray[Any]]:
        """Run a signature."""
        # An answer with one output leaves its name out, and JSON has no data types: ask first.
        known = self._metadata_of(spec, timeout_s).signatures.get(spec.signature)
        if known is None:
            raise StatusError(Code.FAILED_PRECONDITION, f'"{spec.signature}" not found')
        body = joined(predict_body(spec.signature, inputs, known))
        document = self._call("POST", f"{_path(spec)}:predict", timeout_s, body)
        form = "predictions" if has_rows(inputs, known) else "outputs"
        outputs: Any = document.get(form) if isinstance(document, dict) else None
        if outputs is not None and len(known.outputs) == 1:
            outputs = {next(iter(known.outputs)): outputs}
        try:
            return {
                output: array_from_json(outputs[output], info)
                for output, info in known.outputs.items()
            }
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise ServerError(
                f"{self._url} answers {spec.name!r} with outputs that do not fit its own "
                f"signature: {error}. Is it a model server?"
            ) from error

    def metadata(self, spec: ModelSpec, timeout_s: float) -> Metadata:
        """Ask for the signatures."""
        document = self._call("GET", f"{_path(spec)}/metadata", timeout_s)
        try:
            signatures = document["metadata"]["signature_def"]["signature_def"]
            return Metadata(
                spec.name,
                int(document["model_spec"]["version"]),
                {key: signature_from_json(one) for key, one in signatures.items()},
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise no_model_server(self._url, error) from error

    def status(self, spec: ModelSpec, timeout_s: float) -> list[VersionStatus]:
        """Ask for the state of the versions."""
        document = self._call("GET", _path(spec), timeout_s)
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
            raise no_model_server(self._url, error) from error

    def close(self) -> None:
        """End calls that are under way."""
        self._transport.close()

    def _metadata_of(self, spec: ModelSpec, timeout_s: float) -> Metadata:
        """Return the signatures; a version's never change, so they are asked for once."""
        if spec.version is None:
            return self.metadata(spec, timeout_s)
        key = spec.name, spec.version
        if key not in self._known:
            self._known[key] = self.metadata(spec, timeout_s)
        return self._known[key]

    def _call(self, method: str, path: str, timeout_s: float, body: Body | None = None) -> Any:
        headers = {} if body is None else {"Content-Type": "application/json"}
        answer = self._transport.call(method, path, timeout_s, body, headers)
        try:
            return parsed(answer.body)
        except ValueError as error:
            raise ServerError(
                f"{self._url} answers with something that is no JSON; is it a model server?"
            ) from error


def _path(spec: ModelSpec) -> str:
    place = "" if spec.version is None else f"/versions/{spec.version}"
    return f"/v1/models/{quote(spec.name, safe='')}{place}"
