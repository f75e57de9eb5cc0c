"""Output arrays to the body of a predict answer, as rows or as columns; and errors.

Numbers are written in bulk, a million of them in well under a second.
"""

from __future__ import annotations

import base64
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tfseg_serving import wire
from tfseg_serving.json_tensor.floats import float_texts
from tfseg_serving.json_tensor.requests import ROW
from tfseg_serving.json_tensor.text import INDENT, json_text
from tfseg_serving.json_tensor.values import INTEGER_RANGES
from tfseg_serving.status import invalid_argument

_PLACES = 1 << 13  # in one call, during which no other thread can run


def format_error(message: str) -> bytes:
    """Return the JSON body of an error."""
    return f'{{\n{INDENT}"error": {json_text(message)}\n}}'.encode("utf-8", "surrogateescape")


def format_predict_response(form: str, outputs: Mapping[str, NDArray[Any]]) -> bytes:
    """Return the JSON body of a predict answer.

    Args:
        form: :data:`ROW` or :data:`COLUMN`.
        outputs: by the signature's names; a single one is written without its name.

    Raises:
        StatusError: an output has no JSON form, or rows are asked of outputs without them.
    """
    parts = _format_rows(outputs) if form == ROW else _format_columns(outputs)
    text = f'{{\n{INDENT}"{form}": {parts}\n}}'
    return text.encode("utf-8", "surrogateescape")


def _format_rows(outputs: Mapping[str, NDArray[Any]]) -> str:
    batch = -1
    for name, array in sorted(outputs.items()):
        if array.ndim == 0:
            raise invalid_argument(f"Tensor name: {name} has no shape information ")
        if batch >= 0 and array.shape[0] != batch:
            raise invalid_argument(
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
        return f"[{', '.join(rows)}\n{INDENT}]"
    heads = [f"\n{INDENT * 3}{json_text(name)}: " for name in columns]
    items = [
        "{" + ",".join(head + row for head, row in zip(heads, row_of, strict=True)) + "}"
        for row_of in zip(*columns.values(), strict=True)
    ]
    closed = [item[:-1] + f"\n{INDENT * 2}}}" for item in items]
    return "[" + ",".join(f"\n{INDENT * 2}{item}" for item in closed) + f"\n{INDENT}]"


def _format_columns(outputs: Mapping[str, NDArray[Any]]) -> str:
    level = 2 if len(outputs) > 1 else 1
    values = {
        name: _rows(array[np.newaxis], name, level, single_line=False)[0]
        for name, array in sorted(outputs.items())
    }
    if len(values) == 1:
        (value,) = values.values()
        return value
    members = [f"\n{INDENT * 2}{json_text(name)}: {value}" for name, value in values.items()]
    return "{" + ",".join(members) + f"\n{INDENT}}}"


def _rows(array: NDArray[Any], name: str, level: int, *, single_line: bool) -> list[str]:
    """Return the JSON text of each element along the first axis.

    Args:
        array: at least one axis.
        name: of the output; ``..._bytes`` asks for base64.
        level: depth of indentation of the element's own contents less one.
        single_line: lists on one line, or one element a line.
    """
    sizes = array.shape[1:]
    texts = _leaf_texts(array, name, level + len(sizes))
    if 0 in sizes:
        sizes = sizes[: sizes.index(0)]
        texts = ["[]"] * int(np.prod(array.shape[: 1 + len(sizes)]))
    while sizes:
        # As many axes at a time as one format of some thousand places can lay out.
        first = len(sizes) - 1
        while first and math.prod(sizes[first - 1 :]) <= _PLACES:
            first -= 1
        form = _lists(sizes[first:], level + first + 1, single_line=single_line)
        places = math.prod(sizes[first:])
        texts = [
            form % tuple(texts[start : start + places]) for start in range(0, len(texts), places)
        ]
        sizes = sizes[:first]
    return texts


def _lists(sizes: tuple[int, ...], inside: int, *, single_line: bool) -> str:
    """Return the text of nested lists of these sizes, ``%s`` in the place of each element."""
    if not sizes:
        return "%s"
    element = _lists(sizes[1:], inside + 1, single_line=single_line)
    if single_line:
        return f"[{', '.join([element] * sizes[0])}]"
    between = f"\n{INDENT * inside}"
    return f"[{between}{f',{between}'.join([element] * sizes[0])}\n{INDENT * (inside - 1)}]"


def _leaf_texts(array: NDArray[Any], name: str, level: int) -> list[str]:
    kind = wire.data_type_of(array)
    flat = array.reshape(-1)
    if kind.name in {"float", "double"}:
        return float_texts(flat)
    if kind.name in INTEGER_RANGES:
        return list(map(str, flat.tolist()))
    if kind.name == "bool":
        return ["true" if value else "false" for value in flat.tolist()]
    if kind is not wire.STRING:
        raise invalid_argument(f"Failed to write JSON value for tensor type: {kind.name}")
    strings = [wire.as_bytes(value) for value in flat.tolist()]
    if name.endswith("_bytes"):
        inner, outer = INDENT * (level + 1), INDENT * level
        return [
            f'{{\n{inner}"b64": "{base64.b64encode(value).decode()}"\n{outer}}}'
            for value in strings
        ]
    return [json_text(value.decode("utf-8", "surrogateescape")) for value in strings]
