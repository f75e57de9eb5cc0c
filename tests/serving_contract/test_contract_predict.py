"""REST predict: what a request may look like, and the answer's very bytes."""

from __future__ import annotations

import json

import pytest


def _ask(server, signature: str, form: str, value: object) -> str:
    answer = server.predict({"signature_name": signature, form: value})
    assert answer.status == 200, answer.text
    return answer.text


# --- rows and columns

ROWS = [
    ("", [[1, 2], [0.5, 0]], "[[8.0], [1.0]\n    ]"),
    ("half", [2, 3], "[3.0, 3.5\n    ]"),
    ("half", [{"x": 2}, {"x": 3}], "[3.0, 3.5\n    ]"),
    ("half", [[[1]], [[2]]], "[[[2.5]], [[3.0]]\n    ]"),
    (
        "two",
        [{"a": 3, "b": 0.5}],
        '[\n        {\n            "first": 3,\n            "total": 3.5\n        }\n    ]',
    ),
    (
        "two",
        [{"b": [1, 2], "a": [3, 4]}, {"a": [5, 6], "b": [0, 0]}],
        '[\n        {\n            "first": [3, 4],\n            "total": [4.0, 6.0]\n        },'
        '\n        {\n            "first": [5, 6],\n            "total": [5.0, 6.0]\n        }'
        "\n    ]",
    ),
    ("copy", ["a", {"b64": "Yg=="}, "\u00e9"], '["a", "b", "\u00e9"\n    ]'),
    ("echo_bool", [True, False], "[true, false\n    ]"),
]


@pytest.mark.parametrize(("signature", "instances", "expected"), ROWS)
def test_rows(server, signature: str, instances: object, expected: str) -> None:
    text = _ask(server, signature, "instances", instances)
    assert text == f'{{\n    "predictions": {expected}\n}}'


COLUMNS = [
    ("half", 3, "3.5"),
    ("half", [2], "[\n        3.0\n    ]"),
    ("half", {"x": [2]}, "[\n        3.0\n    ]"),
    ("half", {"x": [2], "unknown": "is ignored"}, "[\n        3.0\n    ]"),
    ("half", [], "[]"),
    (
        "half",
        [[2, 4]],
        "[\n        [\n            3.0,\n            4.0\n        ]\n    ]",
    ),
    (
        "two",
        {"a": [1], "b": [0.5]},
        '{\n        "first": [\n            1\n        ],\n        "total": [\n            1.5\n'
        "        ]\n    }",
    ),
    ("copy", {"b64": "YWI="}, '"ab"'),
    ("copy", {"s": {"b64": "YWI"}}, '"ab"'),
    ("total", [1, 2, 3.5], "6.5"),
    ("echo_bool", True, "true"),
]


@pytest.mark.parametrize(("signature", "inputs", "expected"), COLUMNS)
def test_columns(server, signature: str, inputs: object, expected: str) -> None:
    text = _ask(server, signature, "inputs", inputs)
    assert text == f'{{\n    "outputs": {expected}\n}}'


def test_outputs_named_bytes_are_base64_the_others_text(server) -> None:
    text = _ask(server, "text", "instances", ["ab"])
    assert text == (
        '{\n    "predictions": [\n        {\n            "copy_bytes": {\n'
        '                "b64": "YWI="\n            },\n            "upper": "AB"\n        }\n'
        "    ]\n}"
    )


def test_text_that_is_no_utf8_is_written_raw(server) -> None:
    answer = server.predict({"signature_name": "copy", "instances": [{"b64": "/w=="}]})
    assert answer.status == 200
    assert b'["\xff"' in answer.body


@pytest.mark.parametrize("name", ["", None, "serving_default"])
def test_the_default_signature(server, name: str | None) -> None:
    body = {"instances": [[1, 1]]} | ({} if name is None else {"signature_name": name})
    assert server.predict(body).text == '{\n    "predictions": [[5.0]\n    ]\n}'


def test_other_keys_are_ignored(server) -> None:
    body = {"x": [[[]]], "signature_name": "half", "instances": [2], "predictions": None}
    assert json.loads(server.predict(body).body) == {"predictions": [3.0]}


@pytest.mark.parametrize("before", ["", "\ufeff", " \n\t\r", "\ufeff  "])
@pytest.mark.parametrize("after", ["", "\n", "garbage", "{}", "]"])
def test_one_value_is_read_and_the_rest_ignored(server, before: str, after: str) -> None:
    body = f'{before}{{"signature_name": "half", "instances": [2]}}{after}'
    assert json.loads(server.predict(body).body) == {"predictions": [3.0]}


@pytest.mark.parametrize("depth", [500, pytest.param(500_000, marks=pytest.mark.slow)])
def test_deep_nesting_in_an_unused_key(server, depth: int) -> None:
    body = f'{{"unused": {"[" * depth}{"]" * depth}, "signature_name": "half", "instances": [2]}}'
    assert json.loads(server.predict(body).body) == {"predictions": [3.0]}


# --- numbers

FLOATS = [
    ("0.1", "0.1"),
    ("0.3333333333333333", "0.333333343"),
    ("1", "1.0"),
    ("9000000", "9e+06"),
    ("16777216", "16777216.0"),
    ("123456", "123456.0"),
    ("1234567", "1234567.0"),
    ("0.00001", "1e-05"),
    ("-0.0", "-0.0"),
    ("1e39", "Infinity"),
    ("-1e39", "-Infinity"),
    ("NaN", "NaN"),
    ("Infinity", "Infinity"),
    ("-Infinity", "-Infinity"),
    ("3.4028234663852886e38", "3.40282347e+38"),
    ("1e-45", "1.4013e-45"),
    ("1E2", "100.0"),
]


@pytest.mark.parametrize(("given", "expected"), FLOATS)
def test_float32(server, given: str, expected: str) -> None:
    answer = server.predict(f'{{"signature_name": "echo_float32", "inputs": {given}}}')
    assert answer.text == f'{{\n    "outputs": {expected}\n}}'


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("0.1", "0.1"),
        ("0.25", "0.25"),
        ("0.3333333333333333", "0.33333333333333331"),
        ("1e300", "1e+300"),
        ("3", "3.0"),
        ("123456789", "123456789.0"),
    ],
)
def test_float64(server, given: str, expected: str) -> None:
    answer = server.predict(f'{{"signature_name": "echo_float64", "inputs": {given}}}')
    assert answer.text == f'{{\n    "outputs": {expected}\n}}'


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        ("int64", [-(2**63), 0, 2**63 - 1]),
        ("int32", [-(2**31), 0, 2**31 - 1]),
        ("int16", [-32768, 32767]),
        ("int8", [-128, 127]),
        ("uint8", [0, 255]),
        ("uint32", [0, 2**32 - 1]),
        ("uint64", [0, 2**64 - 1]),
    ],
)
def test_whole_numbers(server, kind: str, values: list[int]) -> None:
    text = _ask(server, f"echo_{kind}", "instances", values)
    assert text == f'{{\n    "predictions": [{", ".join(map(str, values))}\n    ]\n}}'


def test_small_types_are_read_as_int32_unchecked(server) -> None:
    assert "44" in _ask(server, "echo_uint8", "inputs", 300)
    assert "-128" in _ask(server, "echo_int8", "inputs", 128)


def _type_error(token: str, json_type: str, kind: str) -> str:
    return f"JSON Value: {token} Type: {json_type} is not of expected type: {kind}"


WRONG = [
    ("float32", '"x"', "String", "float"),
    ("float32", "true", "True", "float"),
    ("float32", "null", "Null", "float"),
    ("float64", "false", "False", "double"),
    ("int32", "1.0", "Number", "int32"),
    ("int32", "2147483648", "Number", "int32"),
    ("int64", "1.5", "Number", "int64"),
    ("int64", "9223372036854775808", "Number", "int64"),
    ("uint32", "-1", "Number", "uint32"),
    ("uint64", "-1", "Number", "uint64"),
    ("uint8", "true", "True", "uint8"),
    ("bool", "1", "Number", "bool"),
    ("bool", '"true"', "String", "bool"),
]


@pytest.mark.parametrize(("signature", "token", "json_type", "kind"), WRONG)
def test_tokens_of_the_wrong_type(
    server, signature: str, token: str, json_type: str, kind: str
) -> None:
    expected = _type_error(token, json_type, kind)
    column = server.predict(f'{{"signature_name": "echo_{signature}", "inputs": {token}}}')
    assert (column.status, column.error) == (400, expected)
    row = server.predict(f'{{"signature_name": "echo_{signature}", "instances": [{token}]}}')
    assert (row.status, row.error) == (
        400,
        "Failed to process element: 0 of 'instances' list. Error: INVALID_ARGUMENT: " + expected,
    )


@pytest.mark.parametrize(
    ("kind", "name"), [("float16", "half"), ("bfloat16", "bfloat16"), ("complex64", "complex64")]
)
def test_types_that_json_has_no_word_for(server, kind: str, name: str) -> None:
    column = server.predict({"signature_name": f"echo_{kind}", "inputs": [1]})
    assert column.status == 501
    assert column.error == f"Conversion of JSON Value: 1 to type: {name}"
    row = server.predict({"signature_name": f"echo_{kind}", "instances": [1]})
    assert row.status == 400
    assert row.error.endswith(f"Conversion of JSON Value: 1 to type: {name}")


# --- shapes


@pytest.mark.parametrize("value", [5, [5], [[5, 6]], [[[5]], [[6]]]])
def test_the_signatures_shape_is_not_checked(server, value: object) -> None:
    def half(x: object) -> object:
        return [half(one) for one in x] if isinstance(x, list) else x * 0.5 + 2

    text = _ask(server, "half", "inputs", value)
    assert json.loads(text) == {"outputs": half(value)}


def test_an_operation_that_fails_says_so(server) -> None:
    answer = server.predict({"instances": [[1, 2, 3]]})
    assert answer.status == 400
    assert "Matrix size-incompatible: In[0]: [1,3], In[1]: [2,1]" in answer.error
    assert "Traceback" not in answer.error


def test_rows_need_outputs_with_one_batch(server) -> None:
    answer = server.predict({"signature_name": "total", "instances": [1, 2]})
    assert (answer.status, answer.error) == (
        400,
        "Tensor name: sum has no shape information ",
    )
    answer = server.predict({"signature_name": "ragged", "instances": [1, 2]})
    assert (answer.status, answer.error) == (
        400,
        "Tensor name: b has inconsistent batch size: 1 expecting: 2",
    )


def test_a_default_fills_a_missing_input_only_over_grpc(server) -> None:
    # REST wants every key of the signature, whatever its defaults.
    answer = server.predict({"signature_name": "defaults", "inputs": {"a": [1]}})
    assert (answer.status, answer.error) == (400, "Missing named input: b in 'inputs' object.")
