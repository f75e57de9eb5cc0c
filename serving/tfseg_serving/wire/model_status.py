"""The GetModelStatus call: the state of each version of a model."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from tfseg_serving.wire.model_spec import ModelSpec, spec_field
from tfseg_serving.wire.protobuf import (
    Chunk,
    delimited_field,
    integer_field,
    read_bytes_fields,
    read_fields,
    text_field,
    to_signed,
    to_text,
    to_view,
)

GET_MODEL_STATUS = "/tensorflow.serving.ModelService/GetModelStatus"

STATES = {0: "UNKNOWN", 10: "START", 20: "LOADING", 30: "AVAILABLE", 40: "UNLOADING", 50: "END"}
_STATE_NUMBERS = {name: number for number, name in STATES.items()}


@dataclass(frozen=True)
class VersionStatus:
    """The state of one version: a name of :data:`STATES`, and why it failed if it did."""

    version: int
    state: str
    code: int = 0
    message: str = ""


def encode_status_request(spec: ModelSpec) -> bytes:
    """Serialise a GetModelStatusRequest."""
    return b"".join(spec_field(1, spec))


def encode_status_response(statuses: Iterable[VersionStatus]) -> bytes:
    """Serialise a GetModelStatusResponse."""
    parts: list[Chunk] = []
    for one in statuses:
        outcome = [*integer_field(1, one.code), *text_field(2, one.message)]
        state = integer_field(2, _STATE_NUMBERS[one.state])
        parts += delimited_field(
            1, [*integer_field(1, one.version), *state, *delimited_field(3, outcome)]
        )
    return b"".join(parts)


def decode_status_response(message: bytes | memoryview) -> list[VersionStatus]:
    """Read a GetModelStatusResponse, in the server's order: newest first.

    Raises:
        WireError: the bytes are no such message.
    """
    statuses = []
    for _, one in read_bytes_fields(memoryview(message)):
        version = state = code = 0
        text = ""
        for number, value in read_fields(one):
            if number == 1:
                version = to_signed(value)
            elif number == 2:
                state = to_signed(value)
            elif number == 3:
                for at, part in read_fields(to_view(value)):
                    if at == 1:
                        code = to_signed(part)
                    elif at == 2:
                        text = to_text(part)
        statuses.append(VersionStatus(version, STATES.get(state, "UNKNOWN"), code, text))
    return statuses
