"""REST predict: the words and the status of every refusal, and which of two comes first."""

from __future__ import annotations

import json

import pytest

ROW_HEAD = "Failed to process element: {} of 'instances' list. Error: INVALID_ARGUMENT: "


def _document(text: str) -> str:
    """Return a flat JSON object as TF-Serving quotes it."""
    pairs = [
        f"\n    {json.dumps(key)}: {json.dumps(value)}" for key, value in json.loads(text).items()
    ]
    return "JSON Value: {" + ",".join(pairs) + "\n}"


CASES = [
    ("", 400, "JSON Parse error: The document is empty"),
    ("   ", 400, "JSON Parse error: The document is empty"),
    ("[]", 400, "JSON Value: [] Is not object"),
    ('"x"', 400, 'JSON Value: "x" Is not object'),
    ("1", 400, "JSON Value: 1 Is not object"),
    ("null", 400, "JSON Value: null Is not object"),
    ("{}", 400, "Missing 'inputs' or 'instances' key"),
    (
        '{"signature_name": "nope", "instances": [1]}',
        400,
        'Serving signature name: "nope" not found in signature def',
    ),
    ('{"instances": []}', 400, "No values in 'instances' array"),
    ('{"instances": 5}', 400, "Expecting 'instances' to be an list/array"),
    (
        '{"instances": [1], "inputs": 1}',
        400,
        "Not formatted correctly expecting only one of 'inputs' or 'instances' keys to exist ",
    ),
    (
        '{"signature_name": 5, "instances": [1]}',
        400,
        "'signature_name' key must be a string value.",
    ),
    (
        '{"signature_name": "two", "inputs": [1]}',
        400,
        "inputs is a plain value/list, but expecting an object as multiple input tensors required "
        "as per tensorinfo_map",
    ),
    (
        '{"signature_name": "two", "inputs": {"a": [1]}}',
        400,
        "Missing named input: b in 'inputs' object.",
    ),
    (
        '{"signature_name": "two", "instances": [1]}',
        400,
        "instances is a plain list, but expecting list of objects as multiple input tensors "
        "required as per tensorinfo_map",
    ),
    (
        '{"signature_name": "two", "instances": [{"a": 1}]}',
        400,
        "keys must be equal to: a,b",
    ),
    (
        '{"signature_name": "half", "instances": [{"z": 1}]}',
        400,
        "JSON object: does not have named input: z",
    ),
    (
        '{"signature_name": "half", "instances": [1, {"x": 1}]}',
        400,
        "Expecting value/list but got object at item 1 of input list",
    ),
    (
        '{"signature_name": "half", "instances": [{"x": 1}, 1]}',
        400,
        "Expecting object but got list at item 1 of input list",
    ),
    (
        '{"signature_name": "half", "instances": [[1, 2], [1]]}',
        400,
        ROW_HEAD.format(1) + "Expecting tensor size: 2 but got: 1",
    ),
    (
        '{"signature_name": "half", "instances": [[[1, 2]], [[1], [2]]]}',
        400,
        ROW_HEAD.format(1) + "Expecting shape [1,2] but got: [2,1]",
    ),
    (
        '{"signature_name": "half", "inputs": [[1, 2], [1]]}',
        400,
        "Encountered list at unexpected size: 1 at level: 1 expected size: 2",
    ),
    (
        '{"signature_name": "half", "inputs": [1, [1]]}',
        400,
        "Encountered list at unexpected level: 1 expected < 1",
    ),
    (
        '{"signature_name": "half", "inputs": [[1], 1]}',
        400,
        "found at incorrect level: 2 in the JSON DOM. Expected at level: 2",
    ),
    (
        '{"signature_name": "copy", "inputs": [{"b64": 5}]}',
        400,
        "not formatted correctly for base64 data",
    ),
    (
        '{"signature_name": "copy", "inputs": [{"b64": "eA==", "x": 1}]}',
        400,
        "not formatted correctly for base64 data",
    ),
    ('{"signature_name": "copy", "inputs": [{"b64": "!"}]}', 400, "Unable to base64 decode"),
    (
        '{"signature_name": "two", "instances": [{"a": "x", "b": 1}]}',
        400,
        "Failed to process element: 0 key: a of 'instances' list. Error: INVALID_ARGUMENT: "
        'JSON Value: "x" Type: String is not of expected type: int64',
    ),
]


@pytest.mark.parametrize(("body", "status", "text"), CASES)
def test_refusals(server, body: str, status: int, text: str) -> None:
    answer = server.predict(body)
    assert answer.status == status
    assert text in answer.error
    assert answer.text.startswith('{\n    "error": "')
    assert answer.text.endswith('"\n}')


@pytest.mark.parametrize(
    "body",
    ["{", '{"instances": [1,]}', '{"instances": [1}', "{'instances': [1]}", "nope", '{"a" 1}',
     '{"instances": [01]}', '{"instances": [1.]}', '{"instances": ["\n"]}', '{"a": "x'],
)  # fmt: skip
def test_bad_json_is_a_parse_error_with_its_offset(server, body: str) -> None:
    answer = server.predict(body)
    assert answer.status == 400
    assert answer.error.startswith("JSON Parse error: ")
    assert " at offset: " in answer.error


@pytest.mark.parametrize("text", ["\\ud800", "a\\uD83D", "\\udbff\\n", "\\ud800\\ud800"])
def test_half_a_surrogate_pair_is_refused(server, text: str) -> None:
    for body in (f'{{"instances": "{text}"}}', f'{{"{text}": 1}}', f'{{"inputs": ["{text}"]}}'):
        answer = server.predict(body)
        assert answer.status == 400
        assert answer.error.startswith("JSON Parse error: ")


def test_whole_surrogate_pairs_are_characters(server) -> None:
    answer = server.predict('{"signature_name": "copy", "inputs": ["\\ud83d\\ude00", "\\\\ud800"]}')
    assert json.loads(answer.body) == {"outputs": ["\U0001f600", "\\ud800"]}


def test_whole_documents_are_quoted_in_front(server) -> None:
    body = '{"instances": 5}'
    assert server.predict(body).error == (
        _document(body) + " Expecting 'instances' to be an list/array"
    )


def test_long_values_are_cut_near_256_bytes(server) -> None:
    answer = server.predict(json.dumps({"inputs": ["x"] * 5000, "instances": 1}))
    assert answer.status == 400
    assert len(answer.body) < 2000


def test_the_order_of_checks(server) -> None:
    # Syntax before the model, the model before the signature, the signature before the values.
    def error(model: str, body: str) -> tuple[int, str]:
        answer = server.predict(body, model)
        return answer.status, answer.error

    assert error("none", "{")[0] == 400
    assert error("none", "[]") == (400, "JSON Value: [] Is not object")
    assert error("none", '{"signature_name": 1}')[0] == 400
    missing = (404, "Servable not found for request: Latest(none)")
    assert error("none", '{"signature_name": "x"}') == missing
    assert error("none", "{}") == missing
    assert error("zoo", '{"signature_name": "x"}')[1].startswith("Serving signature name")


@pytest.mark.parametrize(
    ("place", "status", "text"),
    [
        ("/versions/99", 404, "Servable not found for request: Specific(zoo, 99)"),
        ("/labels/canary", 400, "Unrecognized servable version label: canary"),
        ("/labels/stable", 400, "Unrecognized servable version label: stable"),
    ],
)
def test_unknown_versions_and_labels(server, place: str, status: int, text: str) -> None:
    for path in (f"/v1/models/zoo{place}:predict", f"/v1/models/zoo{place}/metadata"):
        answer = server.post(path, "{}") if path.endswith("predict") else server.get(path)
        assert (answer.status, answer.error) == (status, text)
