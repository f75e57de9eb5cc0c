"""HTTP itself: methods, headers, bodies, connections."""

from __future__ import annotations

import gzip
import json
import socket
from urllib.parse import urlsplit

import pytest

PREDICT = "/v1/models/zoo:predict"
BODY = b'{"signature_name": "half", "instances": [2]}'
GOOD = b'{\n    "predictions": [3.0\n    ]\n}'
EMPTY = "JSON Parse error: The document is empty"
CORS = {
    "Access-Control-Allow-Origin": "*",
    "Access-Control-Allow-Methods": "POST, GET",
    "Access-Control-Allow-Headers": "Content-Type",
}


def test_answers_say_what_and_how_long_they_are(server) -> None:
    for answer in (
        server.post(PREDICT, BODY),
        server.post(PREDICT, "{"),
        server.get("/v1/models/zoo"),
        server.get("/v1/models/none"),
    ):
        assert answer.headers["Content-Type"] == "application/json"
        assert answer.headers["Content-Length"] == str(len(answer.body))
        assert "Content-Encoding" not in answer.headers


@pytest.mark.parametrize(
    "kind", ["application/json", "application/x-www-form-urlencoded", "text/plain", "a/b; c=d"]
)
def test_the_requests_content_type_is_not_looked_at(server, kind: str) -> None:
    answer = server.send("POST", PREDICT, BODY, {"Content-Type": kind})
    assert answer.body == GOOD


def test_options_asks_for_an_origin(server) -> None:
    for origin in ("http://a", "https://b.c"):
        answer = server.send("OPTIONS", PREDICT, headers={"Origin": origin})
        assert (answer.status, answer.body) == (200, b"")
    for headers in ({}, {"Origin": "ftp://a"}, {"Origin": "null"}):
        answer = server.send("OPTIONS", PREDICT, headers=headers)
        assert (answer.status, answer.body) == (400, b"")


def test_without_the_flag_there_are_no_cors_headers(server) -> None:
    for answer in (
        server.post(PREDICT, BODY),
        server.send("OPTIONS", PREDICT, headers={"Origin": "http://a"}),
    ):
        assert not set(CORS) & {name.title() for name in answer.headers}


def test_with_the_flag_every_answer_has_cors_headers(launch, scale_base) -> None:
    base = scale_base(1)
    target = launch(
        f"--model_base_path={base}", "--model_name=m", "--rest_api_enable_cors_support=true"
    )
    for answer in (
        target.get("/v1/models/m"),
        target.get("/v1/models/none"),
        target.send("OPTIONS", "/v1/models/m", headers={"Origin": "http://a"}),
    ):
        assert {name: answer.headers[name] for name in CORS} == CORS
    assert not set(CORS) & set(target.get("/other").headers)


# --- gzip


def test_gzipped_bodies_are_inflated(server) -> None:
    for encoding in ("gzip", "GZIP", "x-gzip", "deflate, gzip"):
        answer = server.send(
            "POST", PREDICT, gzip.compress(BODY, mtime=0), {"Content-Encoding": encoding}
        )
        if encoding == "GZIP" and answer.status == 400:
            continue  # whether the token's case counts is not known
        assert answer.body == GOOD, encoding


@pytest.mark.parametrize(
    "body",
    [b"no gzip", gzip.compress(BODY, mtime=0)[:-6], gzip.compress(bytes(101 << 20), mtime=0)],
    ids=["no gzip", "cut", "huge"],
)
def test_what_cannot_be_inflated_is_an_empty_document(server, body: bytes) -> None:
    answer = server.send("POST", PREDICT, body, {"Content-Encoding": "gzip"})
    assert (answer.status, answer.error) == (400, EMPTY)


def test_answers_are_never_compressed(server) -> None:
    answer = server.send("POST", PREDICT, BODY, {"Accept-Encoding": "gzip"})
    assert answer.body == GOOD


# --- connections


def _head(*headers: str, version: str = "1.1", path: str = PREDICT) -> bytes:
    lines = [f"POST {path} HTTP/{version}", "Host: x", *headers]
    return "\r\n".join([*lines, "", ""]).encode()


def test_one_connection_takes_many_requests(server) -> None:
    length = f"Content-Length: {len(BODY)}"
    received = server.raw((_head(length) + BODY) * 3, _head(length, "Connection: close") + BODY)
    assert received.count(b"HTTP/1.1 200 OK") == 4
    assert received.count(GOOD) == 4


def test_requests_on_a_kept_connection_are_answered_in_order(server) -> None:
    bodies = [json.dumps({"signature_name": "half", "instances": [k]}).encode() for k in range(9)]
    sent = b"".join(_head(f"Content-Length: {len(body)}") + body for body in bodies)
    last = _head(f"Content-Length: {len(BODY)}", "Connection: close") + BODY
    received = server.raw(sent + last)
    values = [
        float(part.split(b"[")[1].split(b"\n")[0])
        for part in received.split(b'"predictions": ')[1:]
    ]
    assert values == [k * 0.5 + 2 for k in range(9)] + [3.0]


def test_http_1_0_is_answered_and_closed(server) -> None:
    received = server.raw(_head(f"Content-Length: {len(BODY)}", version="1.0") + BODY)
    assert received.split(b"\r\n")[0].endswith(b"200 OK")
    assert received.endswith(GOOD)


def test_chunked_bodies(server) -> None:
    chunks = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in (BODY[:1], BODY[1:]))
    received = server.raw(
        _head("Transfer-Encoding: chunked", "Connection: close") + chunks + b"0\r\n\r\n"
    )
    assert received.endswith(GOOD)


def test_expect_100_continue(server) -> None:
    received = server.raw(
        _head("Expect: 100-continue", f"Content-Length: {len(BODY)}", "Connection: close"), BODY
    )
    assert received.startswith(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK")


@pytest.mark.parametrize(
    "sent",
    [
        b"nonsense\r\n\r\n",
        b"GET /v1/models/zoo HTTP/9.9\r\n\r\n",
        _head("Content-Length: -1"),
        _head("Content-Length: 1e9"),
        _head("Transfer-Encoding: chunked") + b"zz\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"\r\n\r\n\r\n\x00\x00",
    ],
)
def test_what_is_no_http_is_refused_and_the_server_goes_on(server, sent: bytes) -> None:
    parts = urlsplit(server.rest)
    with socket.create_connection((parts.hostname, parts.port), timeout=10) as connection:
        connection.sendall(sent)
        connection.shutdown(socket.SHUT_WR)
        answer = connection.recv(4096)
    assert not answer or b" 400 " in answer or b" 505 " in answer or b" 501 " in answer
    assert server.post(PREDICT, BODY).body == GOOD


def test_a_half_sent_body_holds_up_nobody(server) -> None:
    parts = urlsplit(server.rest)
    held = [socket.create_connection((parts.hostname, parts.port)) for _ in range(40)]
    try:
        for connection in held:
            connection.sendall(_head("Content-Length: 1000") + b"{")
        assert server.post(PREDICT, BODY).body == GOOD
        assert server.get("/v1/models/zoo").status == 200
    finally:
        for connection in held:
            connection.close()


def test_trace_and_connect_are_not_answered_as_models(server) -> None:
    for method in ("TRACE", "CONNECT"):
        assert server.send(method, "/v1/models/zoo").status in {400, 405, 501}
