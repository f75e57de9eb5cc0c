"""The REST API, byte for byte: each answer is TF-Serving's, written out by hand."""

from __future__ import annotations

import gzip
import json
import socket
from urllib.parse import urlsplit

import pytest

JSON = "application/json"


def _error(text: str) -> str:
    return '{\n    "error": ' + json.dumps(text) + "\n}"


def _not_found(asked: str) -> str:
    return _error(f"Servable not found for request: {asked}")


PREDICT = "/v1/models/zoo:predict"

GOLDEN = [
    # predict, row form
    (
        PREDICT,
        '{"instances": [[1, 2], [0.5, 0]]}',
        200,
        '{\n    "predictions": [[8.0], [1.0]\n    ]\n}',
    ),
    (
        PREDICT,
        '{"signature_name": "half", "instances": [2, 3]}',
        200,
        '{\n    "predictions": [3.0, 3.5\n    ]\n}',
    ),
    (
        "/v1/models/zoo/versions/001:predict",
        '{"signature_name": "half", "instances": [2]}',
        200,
        '{\n    "predictions": [3.0\n    ]\n}',
    ),
    (
        PREDICT,
        '{"signature_name": "two", "instances": [{"a": 3, "b": 0.5}]}',
        200,
        '{\n    "predictions": [\n        {\n            "first": 3,\n            "total": 3.5\n'
        "        }\n    ]\n}",
    ),
    (
        PREDICT,
        '{"signature_name": "text", "instances": ["ab", {"b64": "eA=="}]}',
        200,
        """{
    "predictions": [
        {
            "copy_bytes": {
                "b64": "YWI="
            },
            "upper": "AB"
        },
        {
            "copy_bytes": {
                "b64": "eA=="
            },
            "upper": "X"
        }
    ]
}""",
    ),
    # predict, column form; a scalar and another rank than the signature's
    (
        PREDICT,
        '{"signature_name": "half", "inputs": 3}',
        200,
        '{\n    "outputs": 3.5\n}',
    ),
    (
        PREDICT,
        '{"signature_name": "half", "inputs": {"x": [[2], [4]]}}',
        200,
        '{\n    "outputs": [\n        [\n            3.0\n        ],\n        [\n            4.0\n'
        "        ]\n    ]\n}",
    ),
    (
        PREDICT,
        '{"signature_name": "flip", "inputs": [true]}',
        200,
        '{\n    "outputs": [\n        false\n    ]\n}',
    ),
    (
        PREDICT,
        '{"signature_name": "small", "inputs": [255, 7]}',
        200,
        '{\n    "outputs": [\n        255,\n        7\n    ]\n}',
    ),
    # refused
    (PREDICT, "", 400, _error("JSON Parse error: The document is empty")),
    (PREDICT, "[]", 400, _error("JSON Value: [] Is not object")),
    ("/v1/models/none:predict", "[]", 400, _error("JSON Value: [] Is not object")),
    ("/v1/models/none:predict", '{"instances": [1]}', 404, _not_found("Latest(none)")),
    ("/v1/models/zoo/versions/99:predict", "{}", 404, _not_found("Specific(zoo, 99)")),
    (
        "/v1/models/zoo/labels/stable:predict",
        "{}",
        400,
        _error("Unrecognized servable version label: stable"),
    ),
    (
        PREDICT,
        '{"signature_name": "nope", "instances": [1]}',
        400,
        _error('Serving signature name: "nope" not found in signature def'),
    ),
    (
        PREDICT,
        '{"signature_name": "half", "instances": ["x"]}',
        400,
        _error(
            "Failed to process element: 0 of 'instances' list. Error: INVALID_ARGUMENT: "
            'JSON Value: "x" Type: String is not of expected type: float'
        ),
    ),
    (
        PREDICT,
        '{"signature_name": "ragged", "instances": [1, 2]}',
        400,
        _error("Tensor name: b has inconsistent batch size: 1 expecting: 2"),
    ),
    (
        PREDICT,
        '{"signature_name": "sixteen", "inputs": [1]}',
        501,
        _error("Conversion of JSON Value: 1 to type: half"),
    ),
    (PREDICT + "?x=1", "{}", 400, _error(f"Malformed request: POST {PREDICT}?x=1")),
    ("/v1/models/zoo:PREDICT", "{}", 400, _error("Malformed request: POST /v1/models/zoo:PREDICT")),
    (
        "/v1/models/zoo/versions/HELLO:predict",
        "{}",
        400,
        _error("Malformed request: POST /v1/models/zoo/versions/HELLO:predict"),
    ),
    (
        "/v1/models/zoo/version/1:predict",
        "{}",
        400,
        _error("Malformed request: POST /v1/models/zoo/version/1:predict"),
    ),
    ("/v1/models/zoo/versions/9223372036854775808:predict", "{}", 400, ""),
    (f"/v1/models/zoo/versions/{'9' * 5000}:predict", "{}", 400, ""),
]


@pytest.mark.parametrize(("path", "body", "status", "text"), GOLDEN)
def test_golden_post(zoo, send, path: str, body: str, status: int, text: str) -> None:
    answer = send(zoo.rest_url, "POST", path, body)
    assert answer.body.decode() == text
    assert answer.status == status
    assert answer.headers["Content-Type"] == JSON
    assert answer.headers["Content-Length"] == str(len(answer.body))


@pytest.mark.parametrize(
    ("method", "path", "status", "text"),
    [
        ("GET", "/v1/models", 400, _error("Missing model name in request.")),
        ("GET", "/v1/models/", 400, _error("Malformed request: GET /v1/models/")),
        ("GET", "/v1/foo", 400, _error("Malformed request: GET /v1/foo")),
        ("GET", PREDICT, 400, _error(f"Malformed request: GET {PREDICT}")),
        (
            "GET",
            "/v1/models/none",
            404,
            _error("Could not find any versions of model none"),
        ),
        (
            "GET",
            "/v1/models/zoo?x=1",
            404,
            _error("Could not find any versions of model zoo?x=1"),
        ),
        (
            "GET",
            "/v1/models/zoo/versions/9",
            404,
            _error("Could not find version 9 of model zoo"),
        ),
        ("GET", "/v1/models/none/metadata", 404, _not_found("Latest(none)")),
        ("PUT", "/v1/models/zoo", 400, _error("Malformed request: PUT /v1/models/zoo")),
        ("DELETE", "/v1/models/zoo", 400, _error("Malformed request: DELETE /v1/models/zoo")),
        ("HEAD", "/v1/models/zoo", 400, ""),
        ("POST", "/v1/models/zoo", 400, _error("Malformed request: POST /v1/models/zoo")),
        ("OPTIONS", "/v1/models/zoo", 400, ""),
    ],
)
def test_golden_errors(zoo, send, method: str, path: str, status: int, text: str) -> None:
    answer = send(zoo.rest_url, method, path)
    assert (answer.status, answer.body.decode()) == (status, text)


@pytest.mark.parametrize(
    "body",
    [
        b'{"examples": [{"\xff": 1}]}',
        b'{"examples": [{"x": 1.0, "a\xc3": [2.0]}]}',
        b'{"context": {"\xff": 1}, "examples": [{"x": 1.0}]}',
        b'{"examples": [{"\\udcff": 1}]}',
        b'{"examples": [{"x": "\\udcff"}]}',
        b'{"examples": [{"x": "\\ud800"}]}',
        b'{"examples": [{"x": {"b64": "\xff"}}]}',
        b'{"examples": [{"x": {"\xff": "AA"}}]}',
        b'{"signature_name": "\xff", "examples": [{"x": 1.0}], "instances": [1.0]}',
        b'{"examples": [{"x": [1, "\xff"]}]}',
        b'{"examples": [{"x": 1' + b"0" * 400 + b"}]}",
        b'{"instances": [{"\xff": 1.0}]}',
        b'{"inputs": "\xff"}',
        b'{"inputs": {"\xff": 1.0}}',
        b"\xff",
    ],
)
@pytest.mark.parametrize("verb", ["classify", "regress", "predict"])
def test_bytes_that_are_no_text_are_the_clients_fault(zoo, send, verb: str, body: bytes) -> None:
    answer = send(zoo.rest_url, "POST", f"/v1/models/zoo:{verb}", body)
    assert answer.status == 400, answer.body


@pytest.mark.parametrize("path", ["%ff", "%ff/metadata", "zoo%00", "%1b[31m", "zoo/labels/%ff"])
def test_names_that_are_no_text_are_unknown(zoo, send, path: str) -> None:
    assert send(zoo.rest_url, "GET", f"/v1/models/{path}/versions/9").status in {400, 404}
    assert send(zoo.rest_url, "GET", f"/v1/models/{path}").status in {200, 404}
    answer = send(zoo.rest_url, "POST", f"/v1/models/{path}:predict", b'{"instances": [[1, 2]]}')
    assert answer.status in {400, 404}


STATUS = (
    '{\n "model_version_status": [\n  {\n   "version": "1",\n   "state": "AVAILABLE",\n'
    '   "status": {\n    "error_code": "OK",\n    "error_message": ""\n   }\n  }\n ]\n}\n'
)


@pytest.mark.parametrize(
    "path",
    ["/v1/models/zoo", "/V1/MODELS/zoo/versions/1", "/v1/models/z%6fo", "/v1/models/zoo/METADATA"],
)
def test_status(zoo, send, path: str) -> None:
    answer = send(zoo.rest_url, "GET", path)
    assert (answer.status, answer.body.decode()) == (200, STATUS)


def test_metadata_holds_every_signature(zoo, send) -> None:
    answer = send(zoo.rest_url, "GET", "/v1/models/zoo/metadata")
    document = json.loads(answer.body)
    assert document["model_spec"] == {"name": "zoo", "signature_name": "", "version": "1"}
    signatures = document["metadata"]["signature_def"]["signature_def"]
    assert {"serving_default", "segment", "__saved_model_init_op"} <= set(signatures)
    half = signatures["half"]
    assert half["method_name"] == "tensorflow/serving/predict"
    assert half["defaults"] == {}
    assert json.dumps(half["inputs"]) == json.dumps(
        {
            "x": {
                "dtype": "DT_FLOAT",
                "tensor_shape": {"dim": [{"size": "-1", "name": ""}], "unknown_rank": False},
                "name": "half_x:0",
            }
        }
    )


def test_other_paths_get_a_plain_404(zoo, send) -> None:
    answer = send(zoo.rest_url, "GET", "/monitoring")
    assert answer.status == 404
    assert answer.headers["Content-Type"] == "text/html"


def test_preflight(zoo, send) -> None:
    answer = send(zoo.rest_url, "OPTIONS", PREDICT, headers={"Origin": "http://a"})
    assert (answer.status, answer.body) == (200, b"")


def test_operation_errors_are_400_with_the_operations_message(zoo, send) -> None:
    answer = send(zoo.rest_url, "POST", PREDICT, '{"instances": [[1, 2, 3]]}')
    assert answer.status == 400
    message = json.loads(answer.body)["error"]
    assert message.startswith("Matrix size-incompatible: In[0]: [1,3], In[1]: [2,1]")
    assert "Traceback" not in message


def test_gzip_bodies_are_inflated(zoo, send) -> None:
    body = gzip.compress(b'{"signature_name": "half", "instances": [2]}', mtime=0)
    answer = send(zoo.rest_url, "POST", PREDICT, body, {"Content-Encoding": "gzip"})
    assert json.loads(answer.body) == {"predictions": [3.0]}


@pytest.mark.parametrize(
    "body",
    [b"no gzip", gzip.compress(b"{}", mtime=0)[:-4], gzip.compress(bytes(101 << 20), mtime=0)],
    ids=["no gzip", "cut", "huge"],
)
def test_bad_or_huge_gzip_is_an_empty_document(zoo, send, body: bytes) -> None:
    answer = send(zoo.rest_url, "POST", PREDICT, body, {"Content-Encoding": "gzip"})
    assert answer.status == 400
    assert answer.body.decode() == _error("JSON Parse error: The document is empty")


def _raw(url: str, *pieces: bytes) -> bytes:
    parts = urlsplit(url)
    with socket.create_connection((parts.hostname, parts.port), timeout=30) as connection:
        for piece in pieces:
            connection.sendall(piece)
        received = b""
        while block := connection.recv(65536):
            received += block
        return received


def test_chunked_bodies_pipelining_and_keep_alive(zoo) -> None:
    head = f"POST {PREDICT} HTTP/1.1\r\nHost: x\r\n".encode()
    chunked = (
        head + b"Transfer-Encoding: chunked\r\n\r\n"
        b'1\r\n{\r\n2b;q=1\r\n"signature_name": "half", "instances": [2] \r\n'
        b"1\r\n}\r\n0\r\nT: 1\r\n\r\n"
    )
    last = b"GET /v1/models/zoo HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    received = _raw(zoo.rest_url, chunked + last)
    assert received.count(b"HTTP/1.1 200 OK") == 2
    assert b'"predictions": [3.0' in received
    assert received.endswith(STATUS.encode())


def test_expect_100_continue(zoo) -> None:
    body = b'{"signature_name": "half", "instances": [2]}'
    received = _raw(
        zoo.rest_url,
        f"POST {PREDICT} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nExpect: 100-continue\r\n"
        f"Content-Length: {len(body)}\r\n\r\n".encode(),
        body,
    )
    assert received.startswith(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK")


@pytest.mark.parametrize(
    "headers",
    [
        b"Content-Length: -1",
        b"Content-Length: 1e9",
        b"Transfer-Encoding: chunked\r\n\r\nzz",
    ],
)
def test_bad_framing_is_400_and_closes(zoo, headers: bytes) -> None:
    received = _raw(
        zoo.rest_url, b"POST /v1/models/zoo:predict HTTP/1.1\r\n" + headers + b"\r\n\r\n"
    )
    assert received.startswith(b"HTTP/1.1 400 ")
