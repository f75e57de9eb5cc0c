"""Tensors and signatures as JSON: what TF-Serving's REST side takes and answers."""

from __future__ import annotations

import base64
import contextlib
import json
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from tfseg.errors import ConfigError
from tfseg_serving import wire
from tfseg_serving.json_tensor.numbers import MIN_BYTES, NumberArray, cut_out_arrays, resolve
from tfseg_serving.wire import Signature, TensorInfo

_BLOCK = 1 << 16
_WHOLE = ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64")
_QUICK = frozenset(("float32", "float64", "bool", *_WHOLE))


def parsed(body: bytes) -> Any:
    """Read a server's JSON; long arrays of numbers in it become :class:`NumberArray`.

    Raises:
        ValueError: it is none.
    """
    short, arrays = cut_out_arrays(body) if len(body) > MIN_BYTES else (body, {})
    with contextlib.suppress(orjson.JSONDecodeError):
        return resolve(orjson.loads(short), arrays)
    # Python's own reads the rest: NaN and Infinity, which TF-Serving writes.
    try:
        return json.loads(body)
    except RecursionError as error:
        raise ValueError("lists nested too deep") from error


def signature_from_json(document: Any) -> Signature:
    """Return a SignatureDef that came as JSON.

    Raises:
        KeyError, TypeError, ValueError, AttributeError: it is none.
    """

    def tensors(infos: Any) -> dict[str, TensorInfo]:
        return {
            name: TensorInfo(
                wire.data_type_named(info["dtype"]),
                None
                if info["tensor_shape"]["unknown_rank"]
                else tuple(int(dim["size"]) for dim in info["tensor_shape"]["dim"]),
                info.get("name", ""),
            )
            for name, info in infos.items()
        }

    return Signature(
        tensors(document["inputs"]), tensors(document["outputs"]), document["method_name"]
    )


def has_rows(inputs: Mapping[str, NDArray[Any]], known: Signature) -> bool:
    """Tell whether a request goes as rows: one array in, one of any batch out.

    Columns take all that rows take, and more; but TF-Serving answers columns with a line for each
    number, several times the text of rows.
    """
    if len(known.outputs) != 1 or len(inputs) != 1 or inputs.keys() != known.inputs.keys():
        return False
    (array,), (output,) = inputs.values(), known.outputs.values()
    return bool(array.size) and array.ndim > 0 and array.dtype.name in _QUICK and bool(output.shape)


def predict_body(
    signature: str, inputs: Mapping[str, NDArray[Any]], known: Signature
) -> Iterator[bytes]:
    """Yield the request in blocks, as rows if it :func:`has_rows`, else as columns.

    Args:
        signature: its name.
        inputs: by name.
        known: the same signature as the server tells it.

    Raises:
        ConfigError: floats for an input that takes integers.
    """
    yield f'{{"signature_name":{json.dumps(signature)},'.encode()
    rows = has_rows(inputs, known)
    yield b'"instances":' if rows else b'"inputs":{'
    for position, (name, array) in enumerate(inputs.items()):
        if not rows:
            yield f"{',' if position else ''}{json.dumps(name)}:".encode()
        expected = known.inputs.get(name)
        if expected and expected.dtype in wire.DATA_TYPES:
            # JSON tells 1 from 1.0: integers are written as such for integer inputs only.
            whole = wire.DATA_TYPES[expected.dtype].numpy.kind in "iu"
            if whole and array.dtype.kind == "f":
                raise ConfigError(
                    f"input {name!r} takes {wire.DATA_TYPES[expected.dtype].name}; "
                    f"got {array.dtype}. Convert it first."
                )
        yield from _json_array(array)
    yield b"}" if rows else b"}}"


def _json_array(array: NDArray[Any]) -> Iterator[bytes]:
    if array.dtype.kind in "SUO":
        yield json.dumps(_base64_objects(array)).encode()
    elif array.size <= _BLOCK:
        yield _json_block(array)
    else:
        parts = array if array.ndim > 1 else np.split(array, range(_BLOCK, len(array), _BLOCK))
        for position, part in enumerate(parts):
            yield b"," if position else b"["
            if array.ndim > 1:
                yield from _json_array(part)
            else:
                yield _json_block(part)[1:-1]
        yield b"]"


def _json_block(array: NDArray[Any]) -> bytes:
    """Return a small array as JSON; floats with as few digits as read back exactly."""
    if array.ndim and array.dtype.name in _QUICK and np.isfinite(array).all():
        return orjson.dumps(np.ascontiguousarray(array), option=orjson.OPT_SERIALIZE_NUMPY)
    values = array.astype(np.float64).tolist() if array.dtype.kind in "fV" else array.tolist()
    # NaN and Infinity are JavaScript's names, which TF-Serving's parser takes.
    return json.dumps(values, separators=(",", ":")).encode()


def joined(pieces: Iterator[bytes]) -> list[bytes]:
    """Return the same bytes in pieces of about a MiB, each one call to the socket."""
    blocks: list[bytes] = []
    waiting: list[bytes] = []
    size = 0
    for piece in pieces:
        waiting.append(piece)
        size += len(piece)
        if size >= 1 << 20:
            blocks.append(b"".join(waiting))
            waiting, size = [], 0
    return [*blocks, b"".join(waiting)]


def _base64_objects(array: NDArray[Any]) -> Any:
    holder = np.empty(array.size, np.object_)
    holder[:] = [{"b64": base64.b64encode(wire.as_bytes(one)).decode()} for one in array.flat]
    return holder.reshape(array.shape).tolist()


def array_from_json(value: Any, info: TensorInfo) -> NDArray[Any]:
    """Return an output as an array of the type that the signature gives it.

    Raises:
        KeyError, TypeError, ValueError, OverflowError: it does not fit.
    """
    kind = wire.DATA_TYPES.get(info.dtype)
    if kind is None:
        raise ValueError(f"data type {info.dtype} is not supported")
    if isinstance(value, NumberArray):
        return value.values.astype(kind.numpy)
    if kind is not wire.STRING:
        return np.array(value, kind.numpy)
    return np.array(_to_bytes(value), np.object_)


def _to_bytes(value: Any) -> Any:
    if isinstance(value, list):
        return [_to_bytes(element) for element in value]
    if isinstance(value, dict):
        return base64.b64decode(value["b64"])
    return wire.as_bytes(value)
