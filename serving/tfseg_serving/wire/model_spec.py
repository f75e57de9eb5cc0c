"""Which model a request asks for: ``tensorflow.serving.ModelSpec``, a part of every message."""

from __future__ import annotations

from dataclasses import dataclass

from tfseg_serving.wire.protobuf import (
    Chunk,
    delimited_field,
    integer_field,
    read_bytes_fields,
    read_fields,
    read_int64_value,
    text_field,
    to_text,
    to_view,
)

DEFAULT_SIGNATURE = "serving_default"


@dataclass(frozen=True)
class ModelSpec:
    """Which model, and which of its signatures: ``tensorflow.serving.ModelSpec``.

    Attributes:
        name: the model.
        version: ``None`` asks for the latest.
        label: a version by its label instead; exclusive with ``version``.
        signature: empty means ``serving_default``.
    """

    name: str = ""
    version: int | None = None
    label: str = ""
    signature: str = ""


def spec_field(number: int, spec: ModelSpec) -> list[Chunk]:
    """Return the field of a message that holds a ModelSpec."""
    parts = text_field(1, spec.name)
    if spec.version is not None:
        parts += delimited_field(2, integer_field(1, spec.version))
    parts += text_field(3, spec.signature)
    if spec.version is None:
        parts += text_field(4, spec.label)
    return delimited_field(number, parts)


def read_spec(data: memoryview) -> ModelSpec:
    """Read a ModelSpec; of version and label, the one that comes last counts."""
    name = label = signature = ""
    version: int | None = None
    for number, value in read_fields(data):
        if number == 1:
            name = to_text(value)
        elif number == 2:
            version, label = read_int64_value(to_view(value)), ""
        elif number == 3:
            signature = to_text(value)
        elif number == 4:
            version, label = None, to_text(value)
    return ModelSpec(name, version, label, signature)


def decode_spec_request(message: bytes | memoryview) -> tuple[ModelSpec | None, tuple[str, ...]]:
    """Read a GetModelStatusRequest or GetModelMetadataRequest: the model, the metadata fields.

    Raises:
        WireError: the bytes are no such message.
    """
    spec: ModelSpec | None = None
    fields: list[str] = []
    for number, value in read_bytes_fields(memoryview(message)):
        if number == 1:
            spec = read_spec(value)
        elif number == 2:
            fields.append(to_text(value))
    return spec, tuple(fields)
