"""KServe's open inference protocol, version 2 (``inference.GRPCInferenceService``).

Triton and OpenVINO Model Server speak it. Field numbers are those of the published
``grpc_predict_v2.proto`` and of Triton's ``grpc_service.proto``, which agree. Tensors are sent
in ``raw_input_contents``; answers may hold them raw or in typed fields.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tfseg_serving.wire.data_types import DATA_TYPES, STRING, DataType, data_type_of
from tfseg_serving.wire.metadata import TensorInfo
from tfseg_serving.wire.protobuf import (
    Chunk,
    WireError,
    delimited_field,
    pack_varints,
    read_bytes_fields,
    read_fields,
    text_field,
    to_signed,
    to_text,
    to_view,
    unpack_varints,
)
from tfseg_serving.wire.tensor import as_bytes

_SERVICE = "/inference.GRPCInferenceService"
MODEL_INFER = f"{_SERVICE}/ModelInfer"
MODEL_METADATA = f"{_SERVICE}/ModelMetadata"
MODEL_READY = f"{_SERVICE}/ModelReady"

# The protocol's names of data types, and TensorFlow's of the same.
_NAMES = {
    "BOOL": "bool", "UINT8": "uint8", "UINT16": "uint16", "UINT32": "uint32", "UINT64": "uint64",
    "INT8": "int8", "INT16": "int16", "INT32": "int32", "INT64": "int64", "FP16": "half",
    "FP32": "float", "FP64": "double", "BF16": "bfloat16", "BYTES": "string",
}  # fmt: skip
_TF_NAMES = {kind.name: kind for kind in DATA_TYPES.values()}
_TYPES = {name: _TF_NAMES[tf_name] for name, tf_name in _NAMES.items()}
_NAME_OF = {kind.number: name for name, kind in _TYPES.items()}

# InferTensorContents: the field of each data type; 16-bit floats travel raw only.
_CONTENTS = {
    "BOOL": 1, "INT8": 2, "INT16": 2, "INT32": 2, "INT64": 3, "UINT8": 4, "UINT16": 4,
    "UINT32": 4, "UINT64": 5, "FP32": 6, "FP64": 7, "BYTES": 8,
}  # fmt: skip


@dataclass(frozen=True)
class ModelMetadata:
    """``inference.ModelMetadataResponse``.

    Attributes:
        name: the model's.
        versions: those that the server has; text, though servers number them.
        inputs: by name.
        outputs: by name.
    """

    name: str = ""
    versions: tuple[str, ...] = ()
    inputs: dict[str, TensorInfo] = field(default_factory=dict)
    outputs: dict[str, TensorInfo] = field(default_factory=dict)


def datatype_of(array: NDArray[Any]) -> str:
    """Return the protocol's name of an array's data type, e.g. ``FP32``.

    Raises:
        WireError: there is none.
    """
    kind = data_type_of(array)
    if kind.number not in _NAME_OF:
        raise WireError(f"arrays of dtype {array.dtype} have no data type in this protocol")
    return _NAME_OF[kind.number]


def datatype_named(name: str) -> DataType | None:
    """Return the data type of a name such as ``FP32``; ``None`` when it is not supported."""
    return _TYPES.get(name)


def raw_tensor(array: NDArray[Any]) -> bytes | memoryview:
    """Return the elements as they travel: row major, little-endian; strings with their lengths."""
    if data_type_of(array) is STRING:
        values = [as_bytes(value) for value in array.reshape(-1).tolist()]
        return b"".join(len(value).to_bytes(4, "little") + value for value in values)
    little = array.astype(array.dtype.newbyteorder("<"), copy=False)
    return np.ascontiguousarray(little).reshape(-1).view(np.uint8).data


def tensor_from_raw(
    data: bytes | memoryview, datatype: str, shape: tuple[int, ...]
) -> NDArray[Any]:
    """Return the array of :func:`raw_tensor`; numbers are a read-only view of ``data``.

    Raises:
        WireError: an unknown data type, a negative size, or contents of another length.
    """
    kind = _known(datatype, shape)
    count = math.prod(shape)
    if kind is STRING:
        return _filled(_split_strings(memoryview(data)), count, shape)
    if len(data) != count * kind.numpy.itemsize:
        raise WireError(
            f"raw contents have {len(data)} bytes; {datatype} of shape {shape} takes "
            f"{count * kind.numpy.itemsize}"
        )
    return np.frombuffer(data, kind.numpy.newbyteorder("<")).reshape(shape)


def encode_infer_request(
    name: str, version: int | None, inputs: Mapping[str, NDArray[Any]]
) -> bytes:
    """Serialise a ModelInferRequest for all outputs; each tensor is copied once.

    Raises:
        WireError: an array's dtype has no counterpart.
    """
    parts = _model_fields(name, version)
    contents: list[Chunk] = []
    for key in sorted(inputs):
        array = inputs[key]
        shape = np.array(array.shape, np.int64)
        tensor = [*text_field(1, key), *text_field(2, datatype_of(array))]
        if shape.size:
            tensor += delimited_field(3, [pack_varints(shape)])
        parts += delimited_field(5, tensor)
        contents += delimited_field(7, [raw_tensor(array)])
    return b"".join([*parts, *contents])


def decode_infer_response(message: bytes | memoryview) -> dict[str, NDArray[Any]]:
    """Read a ModelInferResponse: the outputs by name.

    Raises:
        WireError: the bytes are no such message.
    """
    tensors: list[memoryview] = []
    raw: list[memoryview] = []
    for number, value in read_bytes_fields(memoryview(message)):
        if number == 5:
            tensors.append(value)
        elif number == 6:
            raw.append(value)
    if raw and len(raw) != len(tensors):
        raise WireError(f"{len(tensors)} outputs come with {len(raw)} raw contents")
    outputs: dict[str, NDArray[Any]] = {}
    for position, tensor in enumerate(tensors):
        name, datatype, shape, contents = _read_tensor(tensor)
        outputs[name] = (
            tensor_from_raw(raw[position], datatype, shape)
            if raw
            else _from_contents(contents, datatype, shape)
        )
    return outputs


def encode_model_request(name: str, version: int | None) -> bytes:
    """Serialise a ModelMetadataRequest or a ModelReadyRequest, which have the same fields."""
    return b"".join(_model_fields(name, version))


def decode_model_metadata(message: bytes | memoryview) -> ModelMetadata:
    """Read a ModelMetadataResponse.

    Raises:
        WireError: the bytes are no such message.
    """
    name = ""
    versions: list[str] = []
    inputs: dict[str, TensorInfo] = {}
    outputs: dict[str, TensorInfo] = {}
    for number, value in read_bytes_fields(memoryview(message)):
        if number == 1:
            name = to_text(value)
        elif number == 2:
            versions.append(to_text(value))
        elif number in {4, 5}:
            key, datatype, shape, _ = _read_tensor(value)
            (inputs if number == 4 else outputs)[key] = tensor_info(datatype, shape)
    return ModelMetadata(name, tuple(versions), inputs, outputs)


def decode_model_ready(message: bytes | memoryview) -> bool:
    """Read a ModelReadyResponse.

    Raises:
        WireError: the bytes are no such message.
    """
    return any(number == 1 and value == 1 for number, value in read_fields(memoryview(message)))


def tensor_info(datatype: str, shape: tuple[int, ...]) -> TensorInfo:
    """Return what the metadata says of a tensor; data types without a counterpart are 0."""
    kind = _TYPES.get(datatype)
    return TensorInfo(kind.number if kind else 0, shape)


def _model_fields(name: str, version: int | None) -> list[Chunk]:
    return [*text_field(1, name), *text_field(2, "" if version is None else str(version))]


def _read_tensor(data: memoryview) -> tuple[str, str, tuple[int, ...], memoryview]:
    """Return name, data type, shape and typed contents of any of the messages for tensors."""
    name = datatype = ""
    sizes: list[int] = []
    contents = memoryview(b"")
    for number, value in read_fields(data):
        if number == 1:
            name = to_text(value)
        elif number == 2:
            datatype = to_text(value)
        elif number == 3:
            single = isinstance(value, int)
            packed = unpack_varints(to_view(value), np.dtype(np.int64)) if not single else ()
            sizes += [to_signed(value)] if single else [int(size) for size in packed]
        elif number == 5:
            contents = to_view(value)
    return name, datatype, tuple(sizes), contents


def _known(datatype: str, shape: tuple[int, ...]) -> DataType:
    kind = _TYPES.get(datatype)
    if kind is None:
        raise WireError(f"data type {datatype!r} is not supported")
    if any(size < 0 for size in shape):
        raise WireError(f"the shape must not be negative; got {shape}")
    return kind


def _from_contents(contents: memoryview, datatype: str, shape: tuple[int, ...]) -> NDArray[Any]:
    kind = _known(datatype, shape)
    values = [value for number, value in read_fields(contents) if number == _CONTENTS.get(datatype)]
    if kind is STRING:
        return _filled([bytes(to_view(value)) for value in values], math.prod(shape), shape)
    if datatype in {"FP32", "FP64"}:
        return tensor_from_raw(b"".join(to_view(value) for value in values), datatype, shape)
    pieces = [
        np.array([value], np.uint64).astype(kind.numpy)
        if isinstance(value, int)
        else unpack_varints(value, kind.numpy)
        for value in values
    ]
    flat = np.concatenate(pieces) if pieces else np.empty(0, kind.numpy)
    if len(flat) != math.prod(shape):
        raise WireError(f"{len(flat)} values do not fill the shape {shape}")
    return flat.reshape(shape)


def _split_strings(data: memoryview) -> list[bytes]:
    values: list[bytes] = []
    at = 0
    while at < len(data):
        end = at + 4 + int.from_bytes(data[at : at + 4], "little")
        if end > len(data) or at + 4 > len(data):
            raise WireError("raw strings are cut off")
        values.append(bytes(data[at + 4 : end]))
        at = end
    return values


def _filled(values: list[bytes], count: int, shape: tuple[int, ...]) -> NDArray[Any]:
    if len(values) != count:
        raise WireError(f"{len(values)} strings do not fill the shape {shape}")
    array = np.empty(count, np.object_)
    array[:] = values
    return array.reshape(shape)
