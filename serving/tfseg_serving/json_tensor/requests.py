"""The body of a predict request to arrays by name, from rows or from columns."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tfseg_serving import wire
from tfseg_serving.json_tensor.document import parse_object, signature_of
from tfseg_serving.json_tensor.numbers import MIN_BYTES, NumberArray, cut_out_arrays, resolve
from tfseg_serving.json_tensor.text import quote
from tfseg_serving.json_tensor.values import is_base64, to_array
from tfseg_serving.status import StatusError, invalid_argument
from tfseg_serving.wire import TensorInfo

# The two forms of a request and of its answer, named by the key of the answer.
ROW, COLUMN = "predictions", "outputs"


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
    short, arrays = cut_out_arrays(body) if len(body) > MIN_BYTES else (body, {})
    document = _quick_document(short, arrays) if arrays else None
    quick = document is not None
    if document is None:
        document = parse_object(body)
    signature = signature_of(document) or wire.DEFAULT_SIGNATURE
    infos = inputs_of(signature)
    if not infos:
        raise invalid_argument(f"Failed to get input map for signature: {signature}")
    if quick:
        # What does not fit is read again the usual way, which finds the words for it.
        with contextlib.suppress(StatusError, TypeError):
            return signature, *_arrays_of(document, infos)
        document = parse_object(body)
    return signature, *_arrays_of(document, infos)


def _quick_document(short: bytes, arrays: Mapping[str, NumberArray]) -> dict[str, Any] | None:
    """Return the object with arrays already in it; ``None`` when it is not plainly a request."""
    with contextlib.suppress(StatusError, RecursionError):
        document = parse_object(short)
        signature_of(document)
        resolved: dict[str, Any] = resolve(document, arrays)
        return resolved
    return None


def _arrays_of(
    document: dict[str, Any], infos: Mapping[str, TensorInfo]
) -> tuple[str, dict[str, NDArray[Any]]]:
    """Return the form that the answer takes, and the arrays by name."""
    if "instances" in document:
        _check_instances(document)
        return ROW, _from_instances(document["instances"], infos)
    if "inputs" in document:
        return COLUMN, _from_inputs(document["inputs"], infos)
    raise invalid_argument("Missing 'inputs' or 'instances' key")


def _check_instances(document: dict[str, Any]) -> None:
    if "inputs" in document:
        problem = (
            "Not formatted correctly expecting only one of 'inputs' or 'instances' keys to exist "
        )
    elif not isinstance(document["instances"], (list, NumberArray)):
        problem = "Expecting 'instances' to be an list/array"
    elif document["instances"] == []:
        problem = "No values in 'instances' array"
    else:
        return
    raise invalid_argument(f"JSON Value: {quote(document)} {problem}")


def _from_inputs(value: Any, infos: Mapping[str, TensorInfo]) -> dict[str, NDArray[Any]]:
    """Return the arrays of a request in columns: each input whole, the only one without a name."""
    if not _is_object(value):
        if len(infos) > 1:
            raise invalid_argument(
                "inputs is a plain value/list, but expecting an object as multiple input tensors "
                "required as per tensorinfo_map"
            )
        name, info = next(iter(infos.items()))
        return {name: to_array(value, info.dtype)}
    arrays = {}
    for name, info in sorted(infos.items()):
        if name not in value:
            raise invalid_argument(f"Missing named input: {name} in 'inputs' object.")
        arrays[name] = to_array(value[name], info.dtype)
    return arrays


def _from_instances(
    instances: list[Any] | NumberArray, infos: Mapping[str, TensorInfo]
) -> dict[str, NDArray[Any]]:
    """Return the arrays of a request in rows: element i holds row i of every input."""
    if isinstance(instances, NumberArray):
        return _from_inputs(instances, infos)
    if not isinstance(instances[0], dict) and len(infos) > 1:
        raise invalid_argument(
            "instances is a plain list, but expecting list of objects as multiple input tensors "
            "required as per tensorinfo_map"
        )
    named = _is_object(instances[0])
    columns: dict[str, list[Any]] = {}
    for position, element in enumerate(instances):
        if _is_object(element) != named:
            expected, got = ("object", "list") if named else ("value/list", "object")
            raise invalid_argument(
                f"Expecting {expected} but got {got} at item {position} of input list"
            )
        if not named:
            continue
        for key in element:
            if key not in infos:
                raise invalid_argument(
                    f"Failed to process element: {position} key: {key} of 'instances' list. "
                    f"Error: INVALID_ARGUMENT: JSON object: does not have named input: {key}"
                )
        if len(element) != len(infos):
            raise invalid_argument(
                f"Failed to process element: {position} of 'instances' list. JSON object: "
                f"{quote(element)} keys must be equal to: {','.join(sorted(infos))}"
            )
        for key, item in element.items():
            columns.setdefault(key, []).append(item)
    if not named:
        name = next(iter(infos))
        return {name: _stack(instances, infos[name].dtype, "")}
    return {name: _stack(items, infos[name].dtype, name) for name, items in columns.items()}


def _is_object(value: Any) -> bool:
    return isinstance(value, dict) and not is_base64(value)


def _stack(items: list[Any], dtype: int, key: str) -> NDArray[Any]:
    """Return the rows as one array, or say which row is wrong."""
    try:
        return to_array(items, dtype)
    except StatusError as whole:
        first: tuple[int, ...] | None = None
        for position, item in enumerate(items):
            try:
                shape = to_array(item, dtype).shape
                first = shape if first is None else first
                _expect_same(first, shape)
            except StatusError as error:
                named = f" key: {key}" if key else ""
                raise invalid_argument(
                    f"Failed to process element: {position}{named} of 'instances' list. "
                    f"Error: {error}"
                ) from whole
        raise


def _expect_same(first: tuple[int, ...], shape: tuple[int, ...]) -> None:
    sizes = [int(np.prod(one, dtype=object)) for one in (first, shape)]
    if sizes[0] != sizes[1]:
        raise invalid_argument(f"Expecting tensor size: {sizes[0]} but got: {sizes[1]}")
    if first != shape:
        texts = ["[" + ",".join(map(str, one)) + "]" for one in (first, shape)]
        raise invalid_argument(f"Expecting shape {texts[0]} but got: {texts[1]}")
