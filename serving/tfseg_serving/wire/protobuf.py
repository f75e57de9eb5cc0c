"""Protobuf's own grammar: numbered fields, varints, length-delimited contents, map entries.

A message is built as a list of pieces that are joined once, at the end, so that the bytes of a
tensor are copied once. It is read field by field, as views of the bytes that came. What the
fields mean is the matter of the modules beside this one.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

# A piece of a message under construction.
Chunk = bytes | memoryview

# Wire types: the low three bits of a field's key.
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5


class WireError(ValueError):
    """Bytes are not the message they should be, or a value has no place in a message."""


# --- writing ------------------------------------------------------------------------------


def _varint(value: int) -> bytes:
    value &= (1 << 64) - 1
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def delimited_field(number: int, parts: Iterable[Chunk]) -> list[Chunk]:
    """Return a length-delimited field; the parts themselves are not copied."""
    parts = list(parts)
    size = sum(len(part) for part in parts)
    return [_varint(number << 3 | _BYTES) + _varint(size), *parts]


def text_field(number: int, value: str) -> list[Chunk]:
    """Return a string field; an empty one is the default and is left out."""
    return delimited_field(number, [value.encode()]) if value else []


def integer_field(number: int, value: int) -> list[Chunk]:
    """Return an integer field; 0 is the default and is left out."""
    return [_varint(number << 3 | _VARINT) + _varint(value)] if value else []


def entry_field(number: int, key: str, value: Iterable[Chunk]) -> list[Chunk]:
    """Return one entry of a map with string keys: a message of key (1) and value (2)."""
    return delimited_field(
        number, [*delimited_field(1, [key.encode()]), *delimited_field(2, value)]
    )


# --- reading ------------------------------------------------------------------------------


def _read_varint(data: memoryview, position: int) -> tuple[int, int]:
    value = shift = 0
    while position < len(data) and shift < 70:
        byte = data[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value & (1 << 64) - 1, position
        shift += 7
    raise WireError("the message is cut off or holds a varint of more than 10 bytes")


def read_fields(data: memoryview) -> Iterator[tuple[int, int | memoryview]]:
    """Yield (field number, value): an unsigned int for varints, else a view of the bytes.

    Raises:
        WireError: the message is cut off, or a field is of no known wire type.
    """
    position = 0
    while position < len(data):
        key, position = _read_varint(data, position)
        number, kind = key >> 3, key & 7
        if kind == _VARINT:
            value, position = _read_varint(data, position)
            yield number, value
            continue
        if kind == _BYTES:
            size, position = _read_varint(data, position)
        elif kind in {_FIXED32, _FIXED64}:
            size = 4 if kind == _FIXED32 else 8
        else:
            raise WireError(f"the message has a field of wire type {kind}, which is not in use")
        if size > len(data) - position:
            raise WireError("the message is cut off: a field is longer than what is left")
        yield number, data[position : position + size]
        position += size


def read_bytes_fields(data: memoryview) -> Iterator[tuple[int, memoryview]]:
    """Yield (field number, bytes) of every field that is no varint; see :func:`read_fields`."""
    for number, value in read_fields(data):
        if isinstance(value, memoryview):
            yield number, value


def to_signed(value: int | memoryview) -> int:
    """Return a field's value as the int64 that it stands for.

    Raises:
        WireError: it is bytes.
    """
    if isinstance(value, memoryview):
        raise WireError("a number was expected where the message has bytes")
    return value - (1 << 64) if value >> 63 else value


def to_view(value: int | memoryview) -> memoryview:
    """Return a field's value as bytes.

    Raises:
        WireError: it is a number.
    """
    if not isinstance(value, memoryview):
        raise WireError("bytes were expected where the message has a number")
    return value


def to_text(value: int | memoryview) -> str:
    """Return a field's value as text.

    Raises:
        WireError: it is a number, or no UTF-8.
    """
    try:
        return str(to_view(value), "utf-8")
    except UnicodeDecodeError as error:
        raise WireError(f"a text field is not UTF-8: {error.reason}") from error


def read_entry(data: memoryview) -> tuple[str, memoryview]:
    """Return key and value of one map entry; see :func:`entry_field`."""
    key, value = "", memoryview(b"")
    for number, content in read_bytes_fields(data):
        if number == 1:
            key = to_text(content)
        elif number == 2:
            value = content
    return key, value


def read_int64_value(data: memoryview) -> int:
    """Return field 1 of a message that wraps one int64, such as ``google.protobuf.Int64Value``."""
    return next((to_signed(value) for number, value in read_fields(data) if number == 1), 0)


# --- arrays of integers -------------------------------------------------------------------


def pack_varints(values: NDArray[Any]) -> memoryview:
    """Return integers (n,) as varints, negative ones sign-extended to 64 bits."""
    if not values.size or (values.min() >= 0 and values.max() < 0x80):
        return values.astype(np.uint8).data
    wide = values if values.dtype == np.uint64 else values.astype(np.int64).view(np.uint64)
    lengths = np.ones(len(wide), np.int64)
    for k in range(1, 10):
        lengths += wide >= np.uint64(1 << 7 * k)
    starts = np.cumsum(lengths) - lengths
    out = np.empty(int(lengths.sum()), np.uint8)
    for k in range(int(lengths.max())):
        has = lengths > k
        low = (wide[has] >> np.uint64(7 * k)).astype(np.uint8) & 0x7F
        out[starts[has] + k] = low | np.where(lengths[has] > k + 1, 0x80, 0).astype(np.uint8)
    return out.data


def unpack_varints(data: memoryview, dtype: np.dtype[Any]) -> NDArray[Any]:
    """Return the integers (n,) that were packed as varints.

    Raises:
        WireError: the last one is cut off, or one is longer than 64 bits take.
    """
    raw = np.frombuffer(data, np.uint8)
    if not raw.size or raw.max() < 0x80:
        return raw.astype(dtype)
    is_last = raw < 0x80
    if not is_last[-1]:
        raise WireError("packed integers are cut off")
    ends = np.flatnonzero(is_last)
    starts = np.concatenate([[0], ends[:-1] + 1])
    lengths = ends - starts + 1
    if lengths.max() > 10:
        raise WireError("a packed integer has more than 10 bytes")
    wide = np.zeros(len(ends), np.uint64)
    for k in range(int(lengths.max())):
        has = lengths > k
        wide[has] |= (raw[starts[has] + k] & 0x7F).astype(np.uint64) << np.uint64(7 * k)
    return wide.astype(dtype)
