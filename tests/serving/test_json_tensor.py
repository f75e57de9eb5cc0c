"""JSON to arrays and back; expected texts are written out by hand from TF-Serving's rules."""

from __future__ import annotations

import contextlib
import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from tfseg_serving.json_tensor import (
    COLUMN,
    ROW,
    float_texts,
    format_error,
    format_predict_response,
    parse_predict_request,
    quote,
)
from tfseg_serving.status import Code, StatusError
from tfseg_serving.wire import DATA_TYPES, TensorInfo

NUMBER = {kind.name: number for number, kind in DATA_TYPES.items()}


def _parse(body: str | bytes, **types: str):
    infos = {
        name: TensorInfo(NUMBER[kind], None) for name, kind in (types or {"x": "float"}).items()
    }
    data = body if isinstance(body, bytes) else body.encode()
    return parse_predict_request(data, lambda _: infos)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.1, "0.1"),
        (1 / 3, "0.333333343"),
        (9e6, "9e+06"),
        (16777216, "16777216.0"),
        (999999, "999999.0"),
        (1e-5, "1e-05"),
        (0.0003, "0.0003"),
        (-0.0, "-0.0"),
        (3, "3.0"),
        (555557.5, "555557.5"),
        (3.4028235e38, "3.40282347e+38"),
        (1e-45, "1.4013e-45"),
        (np.nan, "NaN"),
        (np.inf, "Infinity"),
        (-np.inf, "-Infinity"),
    ],
)
def test_float32_text(value: float, text: str) -> None:
    assert float_texts(np.array([value], np.float32)) == [text]


def test_float64_text_has_17_digits_where_needed() -> None:
    values = np.array([0.1, 1 / 3, 1e22, 123456789.0])
    assert float_texts(values) == ["0.1", "0.33333333333333331", "1e+22", "123456789.0"]


def _text_of(value: np.float32) -> str:
    """Return one float32 as C's printf writes it: ``%g`` if that reads back, else ``%.9g``."""
    number = float(value)
    if not math.isfinite(number):
        return "NaN" if math.isnan(number) else "Infinity" if number > 0 else "-Infinity"
    text = f"{number:g}"
    with np.errstate(over="ignore"):
        text = text if np.float32(float(text)) == value else f"{number:.9g}"
    return text + ".0" * (number == math.trunc(number) and not set(text) & set(".e"))


_rng = np.random.default_rng(7)


@pytest.mark.parametrize(
    "values",
    [
        pytest.param(_rng.normal(size=20_000), id="normal"),
        pytest.param(1 / (1 + np.exp(-_rng.normal(0, 8, 20_000))), id="probabilities"),
        pytest.param(_rng.integers(0, 2**32, 20_000, np.uint32).view(np.float32), id="bits"),
        pytest.param(
            10 ** _rng.uniform(-17, 11, 20_000) * _rng.choice([-1, 1], 20_000), id="sizes"
        ),
        pytest.param(
            _rng.integers(1, 2**24, 20_000) / 2.0 ** _rng.integers(0, 30, 20_000), id="ties"
        ),
        pytest.param(1 - 10 ** -_rng.uniform(3, 9, 20_000), id="just below one"),
        pytest.param(np.round(10 ** _rng.uniform(-8, 6, 20_000), 3), id="rounded"),
        pytest.param(10.0 ** np.arange(-20, 20), id="powers of ten"),
        pytest.param(
            np.nextafter(np.float32(10.0 ** np.arange(-20, 20)), np.float32(0)), id="below"
        ),
    ],
)
def test_float32_text_is_that_of_printf(values: np.ndarray) -> None:
    with np.errstate(invalid="ignore"):
        values = values.astype(np.float32)
    assert float_texts(values) == [_text_of(value) for value in values]


@settings(max_examples=100, deadline=None)
@given(arrays(np.float32, st.integers(0, 20), elements=st.floats(width=32, allow_nan=False)))
def test_float_texts_read_back_exactly(values: np.ndarray) -> None:
    back = np.array([float(text) for text in float_texts(values)]).astype(np.float32)
    assert back.tobytes() == values.tobytes()


@pytest.mark.parametrize(
    ("form", "outputs", "text"),
    [
        (ROW, {"y": np.float32([3, 3.5])}, '{\n    "predictions": [3.0, 3.5\n    ]\n}'),
        (
            ROW,
            {"y": np.array([[1, 2], [3, 4]])},
            '{\n    "predictions": [[1, 2], [3, 4]\n    ]\n}',
        ),
        (ROW, {"y": np.zeros((0, 2))}, '{\n    "predictions": []\n}'),
        (ROW, {"y": np.zeros((1, 0))}, '{\n    "predictions": [[]\n    ]\n}'),
        (
            ROW,
            {"b": np.array([True]), "a": np.array([[7]])},
            '{\n    "predictions": [\n        {\n            "a": [7],\n            "b": true\n'
            "        }\n    ]\n}",
        ),
        (
            ROW,
            {"s_bytes": np.array([b"hi"], object)},
            '{\n    "predictions": [{\n            "b64": "aGk="\n        }\n    ]\n}',
        ),
        (COLUMN, {"y": np.float32(2.5).reshape(())}, '{\n    "outputs": 2.5\n}'),
        (
            COLUMN,
            {"y": np.uint8([[1, 2]])},
            '{\n    "outputs": [\n        [\n            1,\n            2\n        ]\n    ]\n}',
        ),
        (
            COLUMN,
            {"b": np.array("q"), "a": np.array([False])},
            '{\n    "outputs": {\n        "a": [\n            false\n        ],\n'
            '        "b": "q"\n    }\n}',
        ),
    ],
)
def test_layout(form: str, outputs: dict, text: str) -> None:
    assert format_predict_response(form, outputs).decode() == text


def test_errors_of_answers() -> None:
    scalar = np.float32(1).reshape(())
    with pytest.raises(StatusError, match="Tensor name: y has no shape information"):
        format_predict_response(ROW, {"y": scalar})
    with pytest.raises(StatusError, match="b has inconsistent batch size: 3 expecting: 2"):
        format_predict_response(ROW, {"a": np.zeros(2), "b": np.zeros(3)})
    with pytest.raises(StatusError, match="Failed to write JSON value for tensor type: half"):
        format_predict_response(ROW, {"a": np.zeros(2, np.float16)})


def test_text_that_is_not_utf8_is_written_as_it_is() -> None:
    body = format_predict_response(ROW, {"s": np.array([b"\xff\xfe"], object)})
    assert b'"\xff\xfe"' in body


@pytest.mark.parametrize(
    ("body", "types", "form", "expected"),
    [
        ('{"instances":[1,2.5,3]}', {}, ROW, {"x": [1, 2.5, 3]}),
        ('\ufeff {"instances":[[1],[2]]} trailing', {}, ROW, {"x": [[1], [2]]}),
        ('{"inputs":7}', {}, COLUMN, {"x": 7}),
        ('{"inputs":{"x":[[1,2]]},"more":null}', {}, COLUMN, {"x": [[1, 2]]}),
        ('{"inputs":{"x":[],"extra":1}}', {}, COLUMN, {"x": []}),
        ('{"inputs":[NaN,Infinity,1e99]}', {}, COLUMN, {"x": [np.nan, np.inf, np.inf]}),
        (
            '{"instances":[{"a":1,"b":2},{"b":4,"a":3}]}',
            {"a": "int64", "b": "float"},
            ROW,
            {"a": [1, 3], "b": [2, 4]},
        ),
        ('{"inputs":[1' + "0" * 400 + "]}", {"x": "double"}, COLUMN, {"x": [np.inf]}),
        ('{"instances":[300,-1]}', {"x": "uint8"}, ROW, {"x": [44, 255]}),
        ('{"instances":[true,false]}', {"x": "bool"}, ROW, {"x": [True, False]}),
        ('{"instances":["a",{"b64":"aGk"}]}', {"x": "string"}, ROW, {"x": [b"a", b"hi"]}),
        ('{"inputs":{"b64":"aGk="}}', {"x": "string"}, COLUMN, {"x": b"hi"}),
        ('{"inputs":[18446744073709551615]}', {"x": "uint64"}, COLUMN, {"x": [2**64 - 1]}),
    ],
)
def test_requests(body: str, types: dict, form: str, expected: dict) -> None:
    signature, found_form, arrays_ = _parse(body, **types)
    assert (signature, found_form) == ("serving_default", form)
    assert set(arrays_) == set(expected)
    for name, value in expected.items():
        kind = DATA_TYPES[NUMBER[(types or {"x": "float"})[name]]]
        assert arrays_[name].dtype == kind.numpy
        np.testing.assert_array_equal(arrays_[name].tolist(), value)


FLOAT_ROW = "Failed to process element: 1 of 'instances' list. Error: INVALID_ARGUMENT: "
BAD_REQUESTS = [
    ("", {}, "JSON Parse error: The document is empty"),
    ("  ", {}, "JSON Parse error: The document is empty. at offset: 2"),
    ("hi", {}, "JSON Parse error: Invalid value. at offset: 0"),
    ('{"a":1', {}, "JSON Parse error: Missing a comma or } after an object member. at offset: 6"),
    ('{"a":[1', {}, "JSON Parse error: Missing a comma or ] after an array element. at offset: 7"),
    (
        '{"a" 1}',
        {},
        "JSON Parse error: Missing a colon after a name of object member. at offset: 5",
    ),
    ("{a:1}", {}, "JSON Parse error: Missing a name for object member. at offset: 1"),
    ("[" * 100_000, {}, "JSON Parse error: Invalid value. at offset: 100000"),
    ("[1]", {}, "JSON Value: [1] Is not object"),
    (
        '{"signature_name":5}',
        {},
        'JSON Value: {\n    "signature_name": 5\n} not formatted correctly. '
        "'signature_name' key must be a string value.",
    ),
    ("{}", {}, "Missing 'inputs' or 'instances' key"),
    (
        '{"inputs":1,"instances":[1]}',
        {},
        'JSON Value: {\n    "inputs": 1,\n    "instances": [1]\n} '
        "Not formatted correctly expecting only one of 'inputs' or 'instances' keys to exist ",
    ),
    (
        '{"instances":1}',
        {},
        "JSON Value: {\n    \"instances\": 1\n} Expecting 'instances' to be an list/array",
    ),
    (
        '{"instances":[]}',
        {},
        "JSON Value: {\n    \"instances\": []\n} No values in 'instances' array",
    ),
    (
        '{"instances":[1,"a"]}',
        {},
        FLOAT_ROW + 'JSON Value: "a" Type: String is not of expected type: float',
    ),
    (
        '{"instances":[1,true]}',
        {},
        FLOAT_ROW + "JSON Value: true Type: True is not of expected type: float",
    ),
    (
        '{"instances":[1,null]}',
        {},
        FLOAT_ROW + "JSON Value: null Type: Null is not of expected type: float",
    ),
    (
        '{"instances":[[1,2],[3]]}',
        {},
        FLOAT_ROW + "Expecting tensor size: 2 but got: 1",
    ),
    (
        '{"instances":[[[1],[2]],[[1,2]]]}',
        {},
        FLOAT_ROW + "Expecting shape [2,1] but got: [1,2]",
    ),
    (
        '{"inputs":[[1,2],[3]]}',
        {},
        "Encountered list at unexpected size: 1 at level: 1 expected size: 2",
    ),
    (
        '{"inputs":' + "[" * 65 + "1" + "]" * 65 + "}",
        {},
        "lists may be nested 64 deep; got 65 levels",
    ),
    ('{"inputs":[1,[2]]}', {}, "Encountered list at unexpected level: 1 expected < 1"),
    (
        '{"inputs":[[1],2]}',
        {},
        "JSON Value: 2 found at incorrect level: 2 in the JSON DOM. Expected at level: 2",
    ),
    (
        '{"inputs":[1.0]}',
        {"x": "int32"},
        "JSON Value: 1.0 Type: Number is not of expected type: int32",
    ),
    (
        '{"inputs":[2147483648]}',
        {"x": "uint8"},
        "JSON Value: 2147483648 Type: Number is not of expected type: uint8",
    ),
    ('{"inputs":[1]}', {"x": "bool"}, "JSON Value: 1 Type: Number is not of expected type: bool"),
    (
        '{"inputs":[{"b64":1}]}',
        {"x": "string"},
        'JSON Value: {\n    "b64": 1\n} not formatted correctly for base64 data',
    ),
    ('{"inputs":[{"b64":"!"}]}', {"x": "string"}, "Unable to base64 decode"),
    (
        '{"instances":[{"a":1}]}',
        {"a": "float", "b": "float"},
        "Failed to process element: 0 of 'instances' list. JSON object: {\n    \"a\": 1\n} "
        "keys must be equal to: a,b",
    ),
    (
        '{"instances":[{"a":1,"z":2}]}',
        {"a": "float", "b": "float"},
        "Failed to process element: 0 key: z of 'instances' list. Error: INVALID_ARGUMENT: "
        "JSON object: does not have named input: z",
    ),
    (
        '{"instances":[1]}',
        {"a": "float", "b": "float"},
        "instances is a plain list, but expecting list of objects as multiple input tensors "
        "required as per tensorinfo_map",
    ),
    (
        '{"instances":[{"x":1},2]}',
        {},
        "Expecting object but got list at item 1 of input list",
    ),
    (
        '{"instances":[1,{"x":1}]}',
        {},
        "Expecting value/list but got object at item 1 of input list",
    ),
    (
        '{"inputs":{"a":1}}',
        {"a": "float", "b": "float"},
        "Missing named input: b in 'inputs' object.",
    ),
    (
        '{"inputs":[1]}',
        {"a": "float", "b": "float"},
        "inputs is a plain value/list, but expecting an object as multiple input tensors required "
        "as per tensorinfo_map",
    ),
]


@pytest.mark.parametrize(("body", "types", "text"), BAD_REQUESTS)
def test_refused_requests(body: str, types: dict, text: str) -> None:
    with pytest.raises(StatusError) as caught:
        _parse(body, **types)
    assert caught.value.code is Code.INVALID_ARGUMENT
    assert caught.value.message == text


def test_half_is_unimplemented_in_columns_and_invalid_in_rows() -> None:
    with pytest.raises(StatusError) as column:
        _parse('{"inputs":[1]}', x="half")
    assert column.value.code is Code.UNIMPLEMENTED
    assert column.value.message == "Conversion of JSON Value: 1 to type: half"
    with pytest.raises(StatusError) as row:
        _parse('{"instances":[1]}', x="half")
    assert row.value.code is Code.INVALID_ARGUMENT
    assert "UNIMPLEMENTED: Conversion of JSON Value: 1 to type: half" in row.value.message


def test_quoted_values_are_cut() -> None:
    assert len(quote(list(range(10_000)))) < 270
    assert len(quote(["x" * 10_000])) == 1024


@settings(max_examples=100, deadline=None)
@given(st.recursive(st.floats() | st.booleans() | st.none() | st.text(), st.lists, max_leaves=20))
def test_any_value_gives_an_array_or_a_client_error(value: object) -> None:
    body = json.dumps({"inputs": value})
    for kind in ("float", "int64", "string", "bool"):
        # Anything but a refusal of the request would be an error of the server.
        with contextlib.suppress(StatusError):
            _, _, found = _parse(body, x=kind)
            assert found["x"].dtype == DATA_TYPES[NUMBER[kind]].numpy


def test_error_body() -> None:
    assert format_error('a "b"\n').decode() == '{\n    "error": "a \\"b\\"\\n"\n}'
