"""Arrays to ``tensorflow.TensorProto`` and back, without a copy where the layouts agree."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tfseg_serving.wire.data_types import DATA_TYPES, STRING, DataType, data_type_of
from tfseg_serving.wire.protobuf import (
    Chunk,
    WireError,
    delimited_field,
    integer_field,
    pack_varints,
    read_fields,
    read_int64_value,
    to_signed,
    to_view,
    unpack_varints,
)

# Largest tensor that may be sent as fewer values than it has elements.
_MAX_REPEATED = 1 << 24


def as_bytes(value: Any) -> bytes:
    """Return an element of a string tensor as bytes.

    Raises:
        WireError: it is neither bytes nor str.
    """
    if isinstance(value, bytes):
        return value
    if isinstance(value, str):
        return value.encode("utf-8", "surrogateescape")
    raise WireError(f"string tensors hold bytes or str; got {type(value).__name__}")


def tensor_parts(array: NDArray[Any], as_content: bool = True) -> list[Chunk]:
    """Return ``tensorflow.TensorProto`` of an array, in pieces that alias the array.

    Args:
        array: any shape; strings as bytes, str or object arrays of those.
        as_content: put the elements into ``tensor_content`` as they lie in memory, the quick
            way; otherwise into the typed fields (``float_val``, ...), as TF-Serving answers.

    Raises:
        WireError: the dtype has no counterpart.
    """
    kind = data_type_of(array)
    dims: list[Chunk] = []
    for size in array.shape:
        dims += delimited_field(2, integer_field(1, size))
    parts = [*integer_field(1, kind.number), *delimited_field(2, dims)]
    if kind is STRING:
        for value in array.reshape(-1).tolist():
            parts += delimited_field(8, [as_bytes(value)])
        return parts
    if not array.size:
        return parts
    little = array.astype(array.dtype.newbyteorder("<"), copy=False)
    if as_content:
        return [*parts, *delimited_field(4, [_raw(little)])]
    if kind.packing == "raw":
        return [*parts, *delimited_field(kind.values, [_raw(little)])]
    flat = little.reshape(-1)
    if kind.numpy.itemsize == 2 and kind.values == 13:
        flat = np.ascontiguousarray(flat).view(np.uint16)
    elif kind.numpy == np.bool_:
        flat = flat.astype(np.uint8)
    return [*parts, *delimited_field(kind.values, [pack_varints(flat)])]


def _raw(array: NDArray[Any]) -> memoryview:
    """Return the elements' bytes in C order."""
    return np.ascontiguousarray(array).reshape(-1).view(np.uint8).data


def decode_tensor(data: memoryview) -> NDArray[Any]:
    """Read a ``tensorflow.TensorProto``; numbers are a read-only view of ``data`` where possible.

    Raises:
        WireError: a data type that is not supported, a shape that is unknown, negative or too
            large, or contents of another size.
    """
    fields: dict[int, list[int | memoryview]] = {}
    for number, value in read_fields(data):
        fields.setdefault(number, []).append(value)
    number = to_signed(fields.get(1, [0])[-1])
    kind = DATA_TYPES.get(number)
    if kind is None:
        raise WireError(f"data type {number} is not supported")
    shape = read_shape(to_view(fields[2][-1])) if 2 in fields else ()
    if shape is None or any(size < 0 for size in shape):
        raise WireError(f"the shape must be known and not negative; got {shape}")
    count = math.prod(shape)
    content = to_view(fields[4][-1]) if 4 in fields else memoryview(b"")
    given = fields.get(kind.values, [])
    if kind is STRING:
        flat = np.empty(len(given), np.object_)
        flat[:] = [bytes(to_view(value)) for value in given]
    elif len(content):
        if len(content) != count * kind.numpy.itemsize:
            raise WireError(
                f"tensor_content has {len(content)} bytes; {kind.enum_name} of shape {shape} "
                f"takes {count * kind.numpy.itemsize}"
            )
        flat = np.frombuffer(content, kind.numpy.newbyteorder("<"))
    else:
        flat = _read_values(kind, given) if given else np.empty(0, kind.numpy)
    try:
        return _fill(flat, count, kind).reshape(shape)
    except ValueError as error:  # more axes than numpy has, or an empty shape past its range
        raise WireError(f"the shape {shape} is not supported: {error}") from error


def read_shape(data: memoryview) -> tuple[int, ...] | None:
    """Read a ``tensorflow.TensorShapeProto``; ``None`` when the rank is unknown."""
    sizes: list[int] = []
    for number, value in read_fields(data):
        if number == 2:
            sizes.append(read_int64_value(to_view(value)))
        elif number == 3 and value:
            return None
    return tuple(sizes)


def _read_values(kind: DataType, values: list[int | memoryview]) -> NDArray[Any]:
    """Return the elements of a typed field, which may come packed, single, or both."""
    if kind.packing == "raw":
        size = kind.numpy.itemsize // (2 if kind.numpy.kind == "c" else 1)
        joined = values[0] if len(values) == 1 else b"".join(to_view(value) for value in values)
        if isinstance(joined, int) or len(joined) % size or len(joined) % kind.numpy.itemsize:
            raise WireError(f"{kind.enum_name} values do not fill whole elements")
        return np.frombuffer(joined, kind.numpy.newbyteorder("<"))
    narrow = np.dtype(np.uint16) if kind.values == 13 else kind.numpy
    pieces = [
        np.array([value], np.uint64).astype(narrow)
        if isinstance(value, int)
        else unpack_varints(value, narrow)
        for value in values
    ]
    joined_values = pieces[0] if len(pieces) == 1 else np.concatenate(pieces)
    return joined_values.view(kind.numpy) if kind.values == 13 else joined_values


def _fill(values: NDArray[Any], count: int, kind: DataType) -> NDArray[Any]:
    """Return ``count`` elements: the last value is repeated, as TensorProto's comment says."""
    if len(values) == count:
        return values
    if len(values) > count:
        raise WireError(f"{len(values)} values are too many for {count} elements")
    if count > _MAX_REPEATED:
        # A few bytes must not make a server allocate gigabytes.
        raise WireError(f"{count} elements come with only {len(values)} values")
    if kind is STRING:
        filler: Any = values[-1] if len(values) else b""
    else:
        filler = values[-1] if len(values) else kind.numpy.type(0)
    full = np.full(count, filler, kind.numpy)
    full[: len(values)] = values
    return full
