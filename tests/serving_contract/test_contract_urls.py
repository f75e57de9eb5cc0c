"""URL grammar: what is matched, what is decoded, what is refused and how."""

from __future__ import annotations

import json

import pytest

BODY = '{"signature_name": "half", "instances": [2]}'
GOOD = '{\n    "predictions": [3.0\n    ]\n}'


@pytest.mark.parametrize(
    "path",
    [
        "/v1/models/zoo:predict",
        "/V1/Models/zoo:predict",
        "/v1/models/zoo/versions/1:predict",
        "/v1/models/zoo/VERSIONS/1:predict",
        "/v1/models/zoo/versions/0000001:predict",
        "/v1/models/z%6Fo:predict",
        "/v1/models/%7Aoo/versions/1:predict",
    ],
)
def test_paths_that_are_taken(server, path: str) -> None:
    answer = server.post(path, BODY)
    assert (answer.status, answer.text) == (200, GOOD)


def test_labels_are_percent_decoded(server) -> None:
    body = '{"instances": [1.0]}'
    for label, factor in (("stable", 10.0), ("%73table", 10.0), ("a%2Fb%3Ac", 20.0)):
        answer = server.post(f"/v1/models/scale/labels/{label}:predict", body)
        assert json.loads(answer.body) == {"predictions": [factor]}, label


MALFORMED = [
    ("POST", "/v1/models/zoo:predict/"),
    ("POST", "/v1/models/zoo:predict?x=1"),
    ("POST", "/v1/models/zoo:PREDICT"),
    ("POST", "/v1/models/zoo:Classify"),
    ("POST", "/v1/models/zoo:unknown"),
    ("POST", "/v1/models/zoo"),
    ("POST", "/v1/models/zoo/metadata"),
    ("POST", "/v1/models/zoo/version/1:predict"),
    ("POST", "/v1/models/zoo/versions/HELLO:predict"),
    ("POST", "/v1/models/zoo/versions/-1:predict"),
    ("POST", "/v1/models/zoo/versions/1/labels/stable:predict"),
    ("POST", "/v1/models/zoo/labels/stable/versions/1:predict"),
    ("POST", "/v1/foo"),
    ("GET", "/v1/"),
    ("GET", "/v1/foo"),
    ("GET", "/v1/models/"),
    ("GET", "/v1/models/zoo/"),
    ("GET", "/v1/models/zoo/metadata/"),
    ("GET", "/v1/models/zoo/versions/"),
    ("GET", "/v1/models/zoo/versions/1/labels/x"),
    ("GET", "/v1/models/zoo:predict"),
    ("PUT", "/v1/models/zoo"),
    ("PUT", "/v1/models/zoo:predict"),
    ("DELETE", "/v1/models/zoo"),
    ("PATCH", "/v1/models/zoo"),
]


@pytest.mark.parametrize(("method", "path"), MALFORMED)
def test_malformed_requests_are_named(server, method: str, path: str) -> None:
    answer = server.send(method, path, "{}")
    assert answer.status == 400
    assert answer.text == f'{{\n    "error": "Malformed request: {method} {path}"\n}}'
    assert answer.headers["Content-Type"] == "application/json"


def test_head_is_malformed_and_has_no_body(server) -> None:
    answer = server.send("HEAD", "/v1/models/zoo")
    assert (answer.status, answer.body) == (400, b"")


def test_a_query_string_is_part_of_the_name(server) -> None:
    answer = server.get("/v1/models/zoo?x=1")
    assert answer.status == 404
    assert answer.error == "Could not find any versions of model zoo?x=1"


def test_metadata_must_be_lower_case(server) -> None:
    assert server.get("/v1/models/zoo/METADATA").text == server.get("/v1/models/zoo").text


@pytest.mark.parametrize("version", ["9223372036854775808", "9" * 4000])
@pytest.mark.parametrize(
    "path", ["/v1/models/zoo/versions/{}:predict", "/v1/models/zoo/versions/{}"]
)
def test_a_version_past_64_bits_is_400_without_a_body(server, path: str, version: str) -> None:
    path = path.format(version)
    answer = server.post(path, BODY) if path.endswith("predict") else server.get(path)
    assert (answer.status, answer.body) == (400, b"")


def test_the_largest_version_is_looked_for(server) -> None:
    answer = server.post("/v1/models/zoo/versions/9223372036854775807:predict", BODY)
    assert answer.status == 404
    assert answer.error == ("Servable not found for request: Specific(zoo, 9223372036854775807)")


def test_a_name_is_needed(server) -> None:
    answer = server.get("/v1/models")
    assert (answer.status, answer.error) == (400, "Missing model name in request.")
    answer = server.get("/v1/models/metadata")
    assert answer.status == 404  # a model of that name


@pytest.mark.parametrize("path", ["/", "/v2/models/zoo", "/v1", "/monitoring", "/v1models/zoo"])
def test_paths_outside_v1_are_404(server, path: str) -> None:
    assert server.get(path).status == 404
    assert server.post(path, BODY).status == 404


@pytest.mark.parametrize(
    "name", ["..%2F..%2Fetc%2Fpasswd", "%2Fetc%2Fpasswd", "..", ".", "zoo%2F1", "zoo%00"]
)
def test_no_name_reaches_a_file(server, name: str) -> None:
    answer = server.post(f"/v1/models/{name}:predict", '{"instances": [1]}')
    assert answer.status == 404
    assert answer.error.startswith("Servable not found for request: Latest(")
