"""JSON of the REST API to arrays and back, as TF-Serving's ``util/json_tensor.cc`` does it.

Lists are checked level by level with C-speed calls (``map``, ``set``, ``chain``), and numbers are
written in bulk, so a million values take well under a second each way. Only when something is
wrong is the document walked value by value, to say where.
"""

from __future__ import annotations

import base64
import binascii
import itertools
import json
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tfseg_serving import wire
from tfseg_serving.status import Code, StatusError
from tfseg_serving.wire import TensorInfo

ROW, COLUMN = "predictions", "outputs"

_INDENT = " " * 4
_MAX_QUOTED = 256
_MAX_RANK = 64  # numpy's
_DECODER = json.JSONDecoder()
_SPACE = re.compile(r"[ \t\n\r]*")
_INT32_TYPES = {"int32", "int16", "int8", "uint8"}
_RANGES = {
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
    **{name: {int} for name in _RANGES},
}


def _invalid(message: str) -> StatusError:
    return StatusError(Code.INVALID_ARGUMENT, message)


# --- requests -----------------------------------------------------------------------------


def parse_predict_request(
    body: bytes, inputs_of: Callable[[str], Mapping[str, TensorInfo]]
) -> tuple[str, str, dict[str, NDArray[Any]]]:
    """Read the body of a predict request.

    Args:
        body: the JSON text; what stands behind its first value is not looked at.
        inputs_of: returns the inputs of a signature by name; may raise :class:`StatusError`.

    Returns:
        The signature's name, the form of the answer (:data:`ROW` or :data:`COLUMN`), the arrays.

    Raises:
        StatusError: the text is no JSON, or not what the signature needs.
    """
    document = _parse_object(body)
    signature = document.get("signature_name", "")
    if not isinstance(signature, str):
        raise _invalid(
            f"JSON Value: {quote(document)} not formatted correctly. "
            "'signature_name' key must be a string value."
        )
    signature = signature or wire.DEFAULT_SIGNATURE
    infos = inputs_of(signature)
    if not infos:
        raise _invalid(f"Failed to get input map for signature: {signature}")
    if "instances" in document:
        instances = document["instances"]
        problem = None
        if "inputs" in document:
            problem = (
                "Not formatted correctly expecting only one of 'inputs' or 'instances' keys to "
                "exist "
            )
        elif not isinstance(instances, list):
            problem = "Expecting 'instances' to be an list/array"
        elif not instances:
            problem = "No values in 'instances' array"
        if problem:
            raise _invalid(f"JSON Value: {quote(document)} {problem}")
        return signature, ROW, _from_instances(instances, infos)
    if "inputs" in document:
        return signature, COLUMN, _from_inputs(document["inputs"], infos)
    raise _invalid("Missing 'inputs' or 'instances' key")


def _parse_object(body: bytes) -> dict[str, Any]:
    if not body:
        raise _invalid("JSON Parse error: The document is empty")
    text = body.decode("utf-8", "surrogateescape").removeprefix("\ufeff")
    start = _SPACE.match(text).end()  # type: ignore[union-attr]  # the pattern matches ""
    if start == len(text):
        raise _invalid(f"JSON Parse error: The document is empty. at offset: {start}")
    try:
        document, _ = _DECODER.raw_decode(text, start)
    except json.JSONDecodeError as error:
        reason, position = _parse_reason(error, text)
        offset = len(text[:position].encode("utf-8", "surrogateescape"))
        raise _invalid(f"JSON Parse error: {reason} at offset: {offset}") from error
    except RecursionError as error:
        raise _invalid("JSON Parse error: the document is nested too deeply") from error
    except ValueError as error:  # an integer of thousands of digits
        raise _invalid("JSON Parse error: Number too big to be stored in double.") from error
    if not isinstance(document, dict):
        raise _invalid(f"JSON Value: {quote(document)} Is not object")
    return document


def _parse_reason(error: json.JSONDecodeError, text: str) -> tuple[str, int]:
    if error.msg.startswith("Unterminated string"):
        return "Missing a closing quotation mark in string.", len(text)
    if "escape" in error.msg:
        return "Invalid escape character in string.", error.pos
    if "control character" in error.msg:
        return "Invalid encoding in string.", error.pos
    if error.msg.startswith("Expecting ':'"):
        return "Missing a colon after a name of object member.", error.pos
    if error.msg.startswith("Expecting ','"):
        kind = "} after an object member" if _inside_object(text, error.pos) else None
        return f"Missing a comma or {kind or '] after an array element'}.", error.pos
    if error.msg.startswith("Expecting property name"):
        return "Missing a name for object member.", error.pos
    return "Invalid value.", error.pos


def _inside_object(text: str, position: int) -> bool:
    """Tell whether the innermost bracket open at ``position`` is a brace."""
    outside = re.sub(r'"(?:[^"\\]|\\.)*"', "", text[:position], flags=re.DOTALL)
    stack: list[str] = []
    for bracket in re.findall(r"[\[\]{}]", outside):
        if bracket in "[{":
            stack.append(bracket)
        elif stack:
            stack.pop()
    return bool(stack) and stack[-1] == "{"


def _is_base64(value: Any) -> bool:
    return isinstance(value, dict) and len(value) == 1 and isinstance(value.get("b64"), str)


def _is_object(value: Any) -> bool:
    return isinstance(value, dict) and not _is_base64(value)


def _from_inputs(value: Any, infos: Mapping[str, TensorInfo]) -> dict[str, NDArray[Any]]:
    if not _is_object(value):
        if len(infos) > 1:
            raise _invalid(
                "inputs is a plain value/list, but expecting an object as multiple input tensors "
                "required as per tensorinfo_map"
            )
        name, info = next(iter(infos.items()))
        return {name: _to_array(value, info.dtype)}
    arrays = {}
    for name, info in sorted(infos.items()):
        if name not in value:
            raise _invalid(f"Missing named input: {name} in 'inputs' object.")
        arrays[name] = _to_array(value[name], info.dtype)
    return arrays


def _from_instances(
    instances: list[Any], infos: Mapping[str, TensorInfo]
) -> dict[str, NDArray[Any]]:
    if not isinstance(instances[0], dict) and len(infos) > 1:
        raise _invalid(
            "instances is a plain list, but expecting list of objects as multiple input tensors "
            "required as per tensorinfo_map"
        )
    named = _is_object(instances[0])
    columns: dict[str, list[Any]] = {}
    for position, element in enumerate(instances):
        if _is_object(element) != named:
            expected, got = ("object", "list") if named else ("value/list", "object")
            raise _invalid(f"Expecting {expected} but got {got} at item {position} of input list")
        if not named:
            continue
        for key in element:
            if key not in infos:
                raise _invalid(
                    f"Failed to process element: {position} key: {key} of 'instances' list. "
                    f"Error: INVALID_ARGUMENT: JSON object: does not have named input: {key}"
                )
        if len(element) != len(infos):
            raise _invalid(
                f"Failed to process element: {position} of 'instances' list. JSON object: "
                f"{quote(element)} keys must be equal to: {','.join(sorted(infos))}"
            )
        for key, item in element.items():
            columns.setdefault(key, []).append(item)
    if not named:
        name = next(iter(infos))
        return {name: _stack(instances, infos[name].dtype, "")}
    return {name: _stack(items, infos[name].dtype, name) for name, items in columns.items()}


def _stack(items: list[Any], dtype: int, key: str) -> NDArray[Any]:
    """Return the rows as one array, or say which row is wrong."""
    try:
        return _to_array(items, dtype)
    except StatusError as whole:
        first: tuple[int, ...] | None = None
        for position, item in enumerate(items):
            try:
                shape = _to_array(item, dtype).shape
                first = shape if first is None else first
                _expect_same(first, shape)
            except StatusError as error:
                named = f" key: {key}" if key else ""
                raise _invalid(
                    f"Failed to process element: {position}{named} of 'instances' list. "
                    f"Error: {error}"
                ) from whole
        raise


def _expect_same(first: tuple[int, ...], shape: tuple[int, ...]) -> None:
    sizes = [int(np.prod(one, dtype=object)) for one in (first, shape)]
    if sizes[0] != sizes[1]:
        raise _invalid(f"Expecting tensor size: {sizes[0]} but got: {sizes[1]}")
    if first != shape:
        texts = ["[" + ",".join(map(str, one)) + "]" for one in (first, shape)]
        raise _invalid(f"Expecting shape {texts[0]} but got: {texts[1]}")


def _to_array(value: Any, dtype: int) -> NDArray[Any]:
    """Return a JSON value as an array of a data type; the shape is that of the nesting."""
    kind = wire.DATA_TYPES.get(dtype)
    accepted = _ACCEPTED.get(kind.name) if kind else None
    if kind is None or accepted is None:
        raise StatusError(
            Code.UNIMPLEMENTED,
            f"Conversion of JSON Value: {quote(_first_leaf(value))} to type: "
            f"{kind.name if kind else dtype}",
        )
    shape = _shape_of(value)
    if len(shape) > _MAX_RANK:
        raise _invalid(f"lists may be nested {_MAX_RANK} deep; got {len(shape)} levels")
    leaves = [value]
    for size in shape:
        if set(map(type, leaves)) != {list} or set(map(len, leaves)) != {size}:
            break
        leaves = list(itertools.chain.from_iterable(leaves))
    else:
        found = set(map(type, leaves))
        if found <= accepted and (kind.name not in _RANGES or _in_range(leaves, kind.name)):
            return _leaves_to_array(leaves, kind.name, kind.numpy).reshape(shape)
    if kind.name == "string" and dict in set(map(type, leaves)):
        decoded = [_decode_leaf(leaf) for leaf in _walk(value, shape, 0, kind.name)]
        return _leaves_to_array(decoded, kind.name, kind.numpy).reshape(shape)
    for _ in _walk(value, shape, 0, kind.name):
        pass
    raise StatusError(Code.INTERNAL, f"JSON Value: {quote(value)} is refused for no reason")


def _in_range(leaves: list[int], name: str) -> bool:
    low, high = _RANGES[name]
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


def _walk(value: Any, shape: tuple[int, ...], level: int, name: str) -> Iterator[Any]:
    """Yield the leaves in order; raises at the first thing that does not fit."""
    if not isinstance(value, list):
        if level != len(shape):
            raise _invalid(
                f"JSON Value: {quote(value)} found at incorrect level: {level + 1} in the JSON "
                f"DOM. Expected at level: {len(shape)}"
            )
        _check_leaf(value, name)
        yield value
        return
    if level >= len(shape):
        raise _invalid(f"Encountered list at unexpected level: {level} expected < {len(shape)}")
    if len(value) != shape[level]:
        raise _invalid(
            f"Encountered list at unexpected size: {len(value)} at level: {level} expected size: "
            f"{shape[level]}"
        )
    for element in value:
        yield from _walk(element, shape, level + 1, name)


def _check_leaf(value: Any, name: str) -> None:
    if name == "string" and isinstance(value, dict):
        if not _is_base64(value):
            raise _invalid(f"JSON Value: {quote(value)} not formatted correctly for base64 data")
        return
    fits = type(value) in _ACCEPTED[name]
    if fits and name in _RANGES:
        fits = _in_range([value], name)
    if not fits:
        raise _invalid(
            f"JSON Value: {quote(value)} Type: {_json_type(value)} is not of expected type: {name}"
        )


def _decode_leaf(value: Any) -> bytes:
    if isinstance(value, str):
        return value.encode("utf-8", "surrogateescape")
    text = value["b64"]
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except (binascii.Error, ValueError) as error:
        raise _invalid("Unable to base64 decode") from error


def _json_type(value: Any) -> str:
    if value is None:
        return "Null"
    if isinstance(value, bool):
        return str(value)
    names = (("Object", dict), ("Array", list), ("String", str))
    return next((name for name, kind in names if isinstance(value, kind)), "Number")


def quote(value: Any) -> str:
    """Return a JSON value as text for a message, cut soon after 256 characters."""
    pieces: list[str] = []
    size = 0
    for piece in _pretty(value, 0):
        pieces.append(piece)
        size += len(piece)
        if size >= _MAX_QUOTED:
            break
    return "".join(pieces)[: 4 * _MAX_QUOTED]  # one piece may be a long string


def _pretty(value: Any, level: int) -> Iterator[str]:
    if isinstance(value, list):
        yield "["
        for position, element in enumerate(value):
            yield ", " if position else ""
            yield from _pretty(element, level + 1)
        yield "]"
    elif isinstance(value, dict):
        yield "{"
        for position, (key, element) in enumerate(value.items()):
            yield "," if position else ""
            yield f"\n{_INDENT * (level + 1)}{_json_text(key)}: "
            yield from _pretty(element, level + 1)
        yield f"\n{_INDENT * level}}}" if value else "}"
    else:
        yield _json_text(value)


def _json_text(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


# --- answers ------------------------------------------------------------------------------


def format_error(message: str) -> bytes:
    """Return the JSON body of an error."""
    return f'{{\n{_INDENT}"error": {_json_text(message)}\n}}'.encode("utf-8", "surrogateescape")


def format_predict_response(form: str, outputs: Mapping[str, NDArray[Any]]) -> bytes:
    """Return the JSON body of a predict answer.

    Args:
        form: :data:`ROW` or :data:`COLUMN`.
        outputs: by the signature's names; a single one is written without its name.

    Raises:
        StatusError: an output has no JSON form, or rows are asked of outputs without them.
    """
    parts = _format_rows(outputs) if form == ROW else _format_columns(outputs)
    text = f'{{\n{_INDENT}"{form}": {parts}\n}}'
    return text.encode("utf-8", "surrogateescape")


def _format_rows(outputs: Mapping[str, NDArray[Any]]) -> str:
    batch = -1
    for name, array in sorted(outputs.items()):
        if array.ndim == 0:
            raise _invalid(f"Tensor name: {name} has no shape information ")
        if batch >= 0 and array.shape[0] != batch:
            raise _invalid(
                f"Tensor name: {name} has inconsistent batch size: {array.shape[0]} "
                f"expecting: {batch}"
            )
        batch = array.shape[0]
    if batch == 0:
        return "[]"
    level = 3 if len(outputs) > 1 else 2
    columns = {
        name: _rows(array, name, level, single_line=True) for name, array in sorted(outputs.items())
    }
    if len(columns) == 1:
        (rows,) = columns.values()
        return f"[{', '.join(rows)}\n{_INDENT}]"
    heads = [f"\n{_INDENT * 3}{_json_text(name)}: " for name in columns]
    items = [
        "{" + ",".join(head + row for head, row in zip(heads, row_of, strict=True)) + "}"
        for row_of in zip(*columns.values(), strict=True)
    ]
    closed = [item[:-1] + f"\n{_INDENT * 2}}}" for item in items]
    return "[" + ",".join(f"\n{_INDENT * 2}{item}" for item in closed) + f"\n{_INDENT}]"


def _format_columns(outputs: Mapping[str, NDArray[Any]]) -> str:
    level = 2 if len(outputs) > 1 else 1
    values = {
        name: _rows(array[np.newaxis], name, level, single_line=False)[0]
        for name, array in sorted(outputs.items())
    }
    if len(values) == 1:
        (value,) = values.values()
        return value
    members = [f"\n{_INDENT * 2}{_json_text(name)}: {value}" for name, value in values.items()]
    return "{" + ",".join(members) + f"\n{_INDENT}}}"


def _rows(array: NDArray[Any], name: str, level: int, *, single_line: bool) -> list[str]:
    """Return the JSON text of each element along the first axis.

    Args:
        array: at least one axis.
        name: of the output; ``..._bytes`` asks for base64.
        level: depth of indentation of the element's own contents less one.
        single_line: lists on one line, or one element a line.
    """
    depth = array.ndim - 1
    texts = _leaf_texts(array, name, level + depth)
    for axis in range(depth, 0, -1):
        size = array.shape[axis]
        inside = level + axis
        if not size:
            texts = ["[]"] * int(np.prod(array.shape[:axis]))
            continue
        if single_line:
            head, between, tail = "[", ", ", "]"
        else:
            head = f"[\n{_INDENT * inside}"
            between = f",\n{_INDENT * inside}"
            tail = f"\n{_INDENT * (inside - 1)}]"
        texts = [
            head + between.join(texts[start : start + size]) + tail
            for start in range(0, len(texts), size)
        ]
    return texts


def _leaf_texts(array: NDArray[Any], name: str, level: int) -> list[str]:
    kind = wire.data_type_of(array)
    flat = array.reshape(-1)
    if kind.name in {"float", "double"}:
        return float_texts(flat)
    if kind.name in _RANGES:
        return list(map(str, flat.tolist()))
    if kind.name == "bool":
        return ["true" if value else "false" for value in flat.tolist()]
    if kind is not wire.STRING:
        raise _invalid(f"Failed to write JSON value for tensor type: {kind.name}")
    strings = [wire.as_bytes(value) for value in flat.tolist()]
    if name.endswith("_bytes"):
        inner, outer = _INDENT * (level + 1), _INDENT * level
        return [
            f'{{\n{inner}"b64": "{base64.b64encode(value).decode()}"\n{outer}}}'
            for value in strings
        ]
    return [_json_text(value.decode("utf-8", "surrogateescape")) for value in strings]


_INFINITE = {True: "Infinity", False: "-Infinity"}


def float_texts(values: NDArray[Any]) -> list[str]:
    """Return numbers as TF-Serving writes them: six digits if they are exact, else all.

    Whole numbers get ``.0`` so that a reader can tell their type; what is not finite becomes
    ``NaN``, ``Infinity`` or ``-Infinity``.

    Args:
        values: (n,) float32 or float64.
    """
    if not values.size:
        return []
    digits = 9 if values.dtype == np.float32 else 17
    numbers = values.astype(np.float64).tolist()
    texts = list(map("%g".__mod__, numbers))
    with np.errstate(over="ignore"):
        parsed = np.fromiter(map(float, texts), np.float64, len(texts))
        exact = parsed.astype(values.dtype) == values
    all_digits = f"%.{digits}g".__mod__
    for position in np.flatnonzero(~exact).tolist():
        texts[position] = all_digits(numbers[position])
    for position in np.flatnonzero(values == np.trunc(values)).tolist():
        if "." not in texts[position] and "e" not in texts[position]:
            texts[position] += ".0"
    for position in np.flatnonzero(~np.isfinite(values)).tolist():
        number = numbers[position]
        texts[position] = "NaN" if number != number else _INFINITE[number > 0]
    return texts
