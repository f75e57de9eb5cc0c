"""The GetModelMetadata call: the signatures of a model, with their inputs and outputs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from tfseg_serving.wire.model_spec import ModelSpec, read_spec, spec_field
from tfseg_serving.wire.protobuf import (
    Chunk,
    delimited_field,
    entry_field,
    read_bytes_fields,
    read_entry,
    read_fields,
    text_field,
    to_signed,
    to_text,
    to_view,
)
from tfseg_serving.wire.tensor import read_shape

GET_MODEL_METADATA = "/tensorflow.serving.PredictionService/GetModelMetadata"
SIGNATURE_DEF = "signature_def"
_SIGNATURE_MAP_URL = "type.googleapis.com/tensorflow.serving.SignatureDefMap"


@dataclass(frozen=True)
class TensorInfo:
    """One input or output of a signature.

    Attributes:
        dtype: number of the data type; see :data:`DATA_TYPES`.
        shape: sizes, -1 where any is allowed; ``None`` when even the rank is free.
        tensor: name of the tensor in the graph.
    """

    dtype: int
    shape: tuple[int, ...] | None
    tensor: str = ""


@dataclass(frozen=True)
class Signature:
    """The named inputs and outputs of one function of a model."""

    inputs: dict[str, TensorInfo] = field(default_factory=dict)
    outputs: dict[str, TensorInfo] = field(default_factory=dict)
    method_name: str = ""


@dataclass(frozen=True)
class Metadata:
    """What a server says about one version of a model."""

    name: str
    version: int
    signatures: dict[str, Signature]


def encode_metadata_request(spec: ModelSpec) -> bytes:
    """Serialise a GetModelMetadataRequest for the signatures."""
    return b"".join([*spec_field(1, spec), *delimited_field(2, [SIGNATURE_DEF.encode()])])


def encode_metadata_response(spec: ModelSpec, signature_defs: Mapping[str, bytes]) -> bytes:
    """Serialise a GetModelMetadataResponse.

    Args:
        spec: name and version.
        signature_defs: signature name to the serialised ``tensorflow.SignatureDef``.
    """
    signature_map: list[Chunk] = []
    for name in sorted(signature_defs):
        signature_map += entry_field(1, name, [signature_defs[name]])
    any_message = [*text_field(1, _SIGNATURE_MAP_URL), *delimited_field(2, signature_map)]
    return b"".join([*spec_field(1, spec), *entry_field(2, SIGNATURE_DEF, any_message)])


def decode_metadata_response(message: bytes | memoryview) -> Metadata:
    """Read a GetModelMetadataResponse.

    Raises:
        WireError: the bytes are no such message.
    """
    spec = ModelSpec()
    signatures: dict[str, Signature] = {}
    for number, value in read_bytes_fields(memoryview(message)):
        if number == 1:
            spec = read_spec(value)
        elif number == 2:
            _, any_message = read_entry(value)
            packed = next((part for at, part in read_bytes_fields(any_message) if at == 2), None)
            for at, entry in read_bytes_fields(packed) if packed is not None else ():
                if at == 1:
                    name, content = read_entry(entry)
                    signatures[name] = decode_signature(content)
    return Metadata(spec.name, spec.version or 0, signatures)


def decode_signature(data: bytes | memoryview) -> Signature:
    """Read a ``tensorflow.SignatureDef``.

    Raises:
        WireError: the bytes are no such message.
    """
    signature = Signature()
    method = ""
    for number, value in read_bytes_fields(memoryview(data)):
        if number in {1, 2}:
            name, content = read_entry(value)
            (signature.inputs if number == 1 else signature.outputs)[name] = _read_tensor_info(
                content
            )
        elif number == 3:
            method = to_text(value)
    return Signature(signature.inputs, signature.outputs, method)


def _read_tensor_info(data: memoryview) -> TensorInfo:
    name, dtype = "", 0
    shape: tuple[int, ...] | None = ()
    for number, value in read_fields(data):
        if number == 1:
            name = to_text(value)
        elif number == 2:
            dtype = to_signed(value)
        elif number == 3:
            shape = read_shape(to_view(value))
    return TensorInfo(dtype, shape, name)
