"""One JSON value, a number or nested lists, to an array of a known data type.

Lists are checked level by level with C-speed calls (``map``, ``set``, ``chain``). Only when
something is wrong is the value walked leaf by leaf, to say where.
"""

from __future__ import annotations

import base64
import binascii
import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tfseg_serving import wire
from tfseg_serving.json_tensor.numbers import NumberArray, stacked
from tfseg_serving.json_tensor.text import quote
from tfseg_serving.status import Code, StatusError, invalid_argument

_MAX_RANK = 64  # numpy's

_INT32_TYPES = {"int32", "int16", "int8", "uint8"}
# Whole numbers that each integer type takes; TF-Serving reads the narrow ones as int32.
INTEGER_RANGES = {
    "int64": (-(2**63), 2**63 - 1),
    "uint32": (0, 2**32 - 1),
    "uint64": (0, 2**64 - 1),
    **dict.fromkeys(_INT32_TYPES, (-(2**31), 2**31 - 1)),
}
# Token types of a JSON leaf that each data type takes.
_ACCEPTED: dict[str, set[type]] = {
    "float": {int, float},
    "double": {int, float},
    "bool": {bool},
    "string": {str},
    **{name: {int} for name in INTEGER_RANGES},
}


def is_base64(value: Any) -> bool:
    """Tell whether a JSON value is ``{"b64": "..."}``, which stands for bytes."""
    return isinstance(value, dict) and len(value) == 1 and isinstance(value.get("b64"), str)


def to_array(value: Any, dtype: int) -> NDArray[Any]:
    """Return a JSON value as an array of a data type; the shape is that of the nesting.

    Args:
        value: a number, a string, or lists of them.
        dtype: number of the data type; see :data:`tfseg_serving.wire.DATA_TYPES`.

    Raises:
        StatusError: the data type has no JSON form, the lists are ragged, or a leaf does not fit.
    """
    kind = wire.DATA_TYPES.get(dtype)
    accepted = _ACCEPTED.get(kind.name) if kind else None
    if kind is None or accepted is None:
        raise StatusError(
            Code.UNIMPLEMENTED,
            f"Conversion of JSON Value: {quote(_first_leaf(value))} to type: "
            f"{kind.name if kind else dtype}",
        )
    if isinstance(value, list) and value and isinstance(value[0], NumberArray):
        value = stacked(value)
    if isinstance(value, NumberArray):
        return _numbers_to_array(value, kind)
    shape = _shape_of(value)
    if len(shape) > _MAX_RANK:
        raise invalid_argument(f"lists may be nested {_MAX_RANK} deep; got {len(shape)} levels")
    leaves = [value]
    for size in shape:
        if set(map(type, leaves)) != {list} or set(map(len, leaves)) != {size}:
            break
        leaves = list(itertools.chain.from_iterable(leaves))
    else:
        found = set(map(type, leaves))
        if found <= accepted and (kind.name not in INTEGER_RANGES or _in_range(leaves, kind.name)):
            return _leaves_to_array(leaves, kind.name, kind.numpy).reshape(shape)
    if kind.name == "string" and dict in set(map(type, leaves)):
        decoded = [decode_bytes(leaf) for leaf in _walk(value, shape, 0, kind.name)]
        return _leaves_to_array(decoded, kind.name, kind.numpy).reshape(shape)
    for _ in _walk(value, shape, 0, kind.name):
        pass
    raise StatusError(Code.INTERNAL, f"JSON Value: {quote(value)} is refused for no reason")


def _numbers_to_array(numbers: NumberArray, kind: wire.DataType) -> NDArray[Any]:
    """Return numbers that were read in bulk as an array of a data type."""
    values = numbers.values
    if kind.numpy.kind == "f":
        with np.errstate(over="ignore"):  # past float32 is infinity
            return values.astype(kind.numpy)
    if kind.name not in INTEGER_RANGES or not numbers.whole:
        raise invalid_argument(f"the numbers are not of expected type: {kind.name}")
    low, high = INTEGER_RANGES[kind.name]
    if values.size and not (low <= values.min() and values.max() <= high):
        raise invalid_argument(f"the numbers are past {kind.name}")
    return values.astype(np.int64).astype(kind.numpy)


def _shape_of(value: Any) -> tuple[int, ...]:
    shape = []
    while isinstance(value, list):
        shape.append(len(value))
        if not value:
            break
        value = value[0]
    return tuple(shape)


def _first_leaf(value: Any) -> Any:
    while isinstance(value, list) and value:
        value = value[0]
    return value


def _in_range(leaves: list[int], name: str) -> bool:
    low, high = INTEGER_RANGES[name]
    return not leaves or (low <= min(leaves) and max(leaves) <= high)


def _leaves_to_array(leaves: list[Any], name: str, dtype: np.dtype[Any]) -> NDArray[Any]:
    if name == "string":
        array = np.empty(len(leaves), np.object_)
        array[:] = [wire.as_bytes(leaf) for leaf in leaves]
        return array
    if name in _INT32_TYPES:  # past 8 or 16 bits they wrap, as C++ casts do
        return np.array(leaves, np.int32).astype(dtype)
    if dtype.kind != "f":
        return np.array(leaves, dtype)
    try:
        wide = np.array(leaves, np.float64)
    except OverflowError:  # an integer past the range of float64
        wide = np.array([float(f"{leaf}") for leaf in leaves])
    with np.errstate(over="ignore"):  # past float32 is infinity
        return wide.astype(dtype)


def _walk(value: Any, shape: tuple[int, ...], level: int, name: str) -> Iterator[Any]:
    """Yield the leaves in order; raises at the first thing that does not fit."""
    if not isinstance(value, list):
        if level != len(shape):
            raise invalid_argument(
                f"JSON Value: {quote(value)} found at incorrect level: {level + 1} in the JSON "
                f"DOM. Expected at level: {len(shape)}"
            )
        _check_leaf(value, name)
        yield value
        return
    if level >= len(shape):
        raise invalid_argument(
            f"Encountered list at unexpected level: {level} expected < {len(shape)}"
        )
    if len(value) != shape[level]:
        raise invalid_argument(
            f"Encountered list at unexpected size: {len(value)} at level: {level} expected size: "
            f"{shape[level]}"
        )
    for element in value:
        yield from _walk(element, shape, level + 1, name)


def _check_leaf(value: Any, name: str) -> None:
    if name == "string" and isinstance(value, dict):
        if not is_base64(value):
            raise invalid_argument(
                f"JSON Value: {quote(value)} not formatted correctly for base64 data"
            )
        return
    fits = type(value) in _ACCEPTED[name]
    if fits and name in INTEGER_RANGES:
        fits = _in_range([value], name)
    if not fits:
        raise invalid_argument(
            f"JSON Value: {quote(value)} Type: {json_type(value)} is not of expected type: {name}"
        )


def decode_bytes(value: Any) -> bytes:
    """Return the bytes of a JSON string, or of an object for which :func:`is_base64` holds.

    Raises:
        StatusError: its text is no base64.
    """
    if isinstance(value, str):
        return value.encode("utf-8", "surrogateescape")
    text = value["b64"]
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except (binascii.Error, ValueError) as error:
        raise invalid_argument("Unable to base64 decode") from error


def json_type(value: Any) -> str:
    """Return RapidJSON's name for the type of a JSON value."""
    if value is None:
        return "Null"
    if isinstance(value, bool):
        return str(value)
    names = (("Object", dict), ("Array", list), ("String", str))
    return next((name for name, kind in names if isinstance(value, kind)), "Number")
