"""The Predict call: its request, its response, and requests recorded for warm-up."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from tfseg_serving.wire.model_spec import ModelSpec, read_spec, spec_field
from tfseg_serving.wire.protobuf import (
    Chunk,
    WireError,
    delimited_field,
    entry_field,
    read_bytes_fields,
    read_entry,
    to_text,
)
from tfseg_serving.wire.tensor import decode_tensor, tensor_parts

PREDICT = "/tensorflow.serving.PredictionService/Predict"

Tensors = Mapping[str, NDArray[Any]]


@dataclass(frozen=True)
class PredictRequest:
    """``tensorflow.serving.PredictRequest``; an empty ``output_filter`` asks for all outputs.

    ``inputs`` may hold a :class:`WireError` in place of an array that could not be decoded, so
    that a server can first say what else is wrong and then name the tensor.
    """

    spec: ModelSpec | None
    inputs: dict[str, NDArray[Any] | WireError]
    output_filter: tuple[str, ...] = ()


def encode_predict_request(
    spec: ModelSpec, inputs: Tensors, output_filter: Sequence[str] = ()
) -> bytes:
    """Serialise a PredictRequest; each tensor is copied once.

    Raises:
        WireError: an array's dtype has no counterpart.
    """
    parts = [*spec_field(1, spec), *_tensor_map(2, inputs, True)]
    for name in output_filter:
        parts += delimited_field(3, [name.encode()])
    return b"".join(parts)


def decode_predict_request(message: bytes | memoryview) -> PredictRequest:
    """Read a PredictRequest.

    Raises:
        WireError: the bytes are no such message. A tensor that cannot be decoded does not raise:
            its error stands in ``inputs``.
    """
    spec: ModelSpec | None = None
    inputs: dict[str, NDArray[Any] | WireError] = {}
    output_filter: list[str] = []
    for number, value in read_bytes_fields(memoryview(message)):
        if number == 1:
            spec = read_spec(value)
        elif number == 2:
            name, content = read_entry(value)
            try:
                inputs[name] = decode_tensor(content)
            except WireError as error:
                inputs[name] = error
        elif number == 3:
            output_filter.append(to_text(value))
    return PredictRequest(spec, inputs, tuple(output_filter))


def encode_predict_response(spec: ModelSpec, outputs: Tensors, as_content: bool) -> bytes:
    """Serialise a PredictResponse; see :func:`tensor_parts` for ``as_content``."""
    return b"".join([*_tensor_map(1, outputs, as_content), *spec_field(2, spec)])


def decode_predict_response(
    message: bytes | memoryview,
) -> tuple[ModelSpec, dict[str, NDArray[Any]]]:
    """Read a PredictResponse: the version that answered, and the outputs.

    Raises:
        WireError: the bytes are no such message.
    """
    spec = ModelSpec()
    outputs: dict[str, NDArray[Any]] = {}
    for number, value in read_bytes_fields(memoryview(message)):
        if number == 1:
            name, content = read_entry(value)
            outputs[name] = decode_tensor(content)
        elif number == 2:
            spec = read_spec(value)
    return spec, outputs


def decode_warmup_request(record: bytes) -> PredictRequest | None:
    """Return the request of a ``PredictionLog`` record; ``None`` when it is of another kind.

    Raises:
        WireError: the bytes are no PredictionLog.
    """
    for number, value in read_bytes_fields(memoryview(record)):
        if number == 6:
            request = next(
                (part for at, part in read_bytes_fields(value) if at == 1), memoryview(b"")
            )
            return decode_predict_request(request)
    return None


def _tensor_map(number: int, tensors: Tensors, as_content: bool) -> list[Chunk]:
    """Return a map field of tensors by name."""
    parts: list[Chunk] = []
    for name in sorted(tensors):
        parts += entry_field(number, name, tensor_parts(tensors[name], as_content))
    return parts
