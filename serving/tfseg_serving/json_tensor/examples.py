"""The bodies of classify and regress: JSON objects to ``tensorflow.Example``, results to JSON.

What kind a feature is follows from how its values are written: ``1`` and ``true`` are int64,
``1.0`` is float, text and ``{"b64": ...}`` are bytes; kinds do not mix. The words are those of
``util/json_tensor.cc``.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tfseg_serving.json_tensor.document import parse_object, signature_of
from tfseg_serving.json_tensor.floats import float_texts
from tfseg_serving.json_tensor.text import INDENT, json_text, quote
from tfseg_serving.json_tensor.values import decode_bytes, is_base64, json_type
from tfseg_serving.status import StatusError, invalid_argument

_INT64_MAX, _UINT64_MAX = 2**63 - 1, 2**64 - 1
_KIND_NAMES = {"bytes_list": "bytes", "float_list": "float", "int64_list": "int64"}


def fill_example_request(body: bytes, request: Any) -> None:
    """Fill a ``ClassificationRequest`` or ``RegressionRequest`` from the body of a REST request.

    Raises:
        StatusError: the text is no JSON, or not what the two calls take.
    """
    document = parse_object(body)
    signature = signature_of(document)
    _check_utf8("Signature", signature)
    request.model_spec.signature_name = signature
    context = document.get("context")
    if "context" in document:
        _fill_example(context, request.input.example_list_with_context.context)
        # An empty context is a context, too.
        request.input.example_list_with_context.context.SetInParent()
        examples = request.input.example_list_with_context.examples
    else:
        examples = request.input.example_list.examples
    given = document.get("examples")
    if "examples" not in document:
        problem = "When method is classify, key 'examples' is expected and was not found"
    elif not isinstance(given, list):
        problem = "Expecting 'examples' value to be an list/array"
    elif not given:
        problem = "'examples' value is an empty array"
    else:
        for one in given:
            _fill_example(one, examples.add())
        return
    raise invalid_argument(f"JSON Value: {quote(document)} {problem}")


def _fill_example(value: Any, example: Any) -> None:
    if not isinstance(value, dict):
        raise invalid_argument(f"Example must be JSON object but got JSON {json_type(value)}")
    for name, content in value.items():
        _check_utf8("Feature", name)
        feature = example.features.feature[name]
        for element in content if isinstance(content, list) else [content]:
            _add_value(feature, name, element)


def _check_utf8(what: str, name: str) -> None:
    """Refuse names that no protobuf message can hold."""
    try:
        name.encode()
    except UnicodeEncodeError as error:
        raise invalid_argument(
            f"{what}: {json_text(name)} must be UTF-8; its name has other bytes"
        ) from error


def _add_value(feature: Any, name: str, value: Any) -> None:
    stored: int | float | bytes
    if isinstance(value, bool):
        kind, stored = "int64_list", int(value)
    elif isinstance(value, int) and value <= _UINT64_MAX and value >= -(2**63):
        if value > _INT64_MAX:
            raise invalid_argument(
                f"Feature: {name} has uint64_t element. Only int64_t is supported."
            )
        kind, stored = "int64_list", value
    elif isinstance(value, (int, float)):  # an integer past 64 bits is read as a decimal
        with np.errstate(over="ignore"):  # through text: an integer may be past float64
            kind, stored = "float_list", float(np.float32(float(f"{value}")))
    elif isinstance(value, str) or is_base64(value):
        kind, stored = "bytes_list", decode_bytes(value)
    else:
        raise invalid_argument(
            f"Feature: {name} has element with unexpected JSON type: {json_type(value)}"
        )
    known = feature.WhichOneof("kind")
    if known not in {None, kind}:
        raise invalid_argument(
            f"Unexpected element type in feature: {name} expecting type: {_KIND_NAMES[known]}"
        )
    getattr(feature, kind).value.append(stored)


def format_classifications(result: Any) -> bytes:
    """Return the JSON body for a ``ClassificationResult``: lists of [label, score], a list a row.

    Raises:
        StatusError: there is nothing in it.
    """
    if not result.classifications:
        raise _empty("ClassificationResults")
    rows = []
    for row in result.classifications:
        scores = float_texts(np.array([one.score for one in row.classes], np.float32))
        pairs = [
            f"[{json_text(one.label)}, {score}]"
            for one, score in zip(row.classes, scores, strict=True)
        ]
        rows.append(f"[{', '.join(pairs)}]")
    return f'{{\n{INDENT}"results": [{", ".join(rows)}\n{INDENT}]\n}}'.encode()


def format_regressions(result: Any) -> bytes:
    """Return the JSON body for a ``RegressionResult``: a number a row.

    Raises:
        StatusError: there is nothing in it.
    """
    if not result.regressions:
        raise _empty("RegressionResults")
    values = float_texts(np.array([one.value for one in result.regressions], np.float32))
    return f'{{\n{INDENT}"results": [{", ".join(values)}]\n}}'.encode()


def _empty(what: str) -> StatusError:
    return invalid_argument(f"Cannot convert empty {what} to JSON")
