"""The light client over both transports, against the server and against things that are none."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Iterator

import numpy as np
import pytest

from tfseg.errors import ConfigError, ServerError
from tfseg_serving.client import Client, Retries, connect
from tfseg_serving.wire import Signature, TensorInfo


@pytest.fixture(params=["grpc", "http", "http+gzip"])
def client(zoo, request: pytest.FixtureRequest) -> Iterator:
    url = zoo.grpc_url if request.param == "grpc" else zoo.rest_url
    with connect(url, compress=request.param.endswith("gzip")) as opened:
        yield opened


@pytest.mark.parametrize(
    ("signature", "inputs", "outputs"),
    [
        ("serving_default", {"x": np.float32([[1, 2]])}, {"y": np.float32([[8]])}),
        ("half", {"x": np.float32([-1024.25, 1e-7])}, {"y": np.float32([-510.125, 2.00000005])}),
        (
            "two",
            {"a": np.int64([2**40]), "b": np.float32([0.5])},
            {"first": np.int64([2**40]), "total": np.float32([2**40])},
        ),
        ("flip", {"flag": np.array([True])}, {"flag": np.array([False])}),
        ("small", {"i": np.uint8([255, 0])}, {"i": np.uint8([255, 0])}),
        (
            "text",
            {"s": np.array([b"ab", b"c"], object)},
            {
                "upper": np.array([b"AB", b"C"], object),
                "copy_bytes": np.array([b"ab", b"c"], object),
            },
        ),
    ],
)
def test_predict(client, signature: str, inputs: dict, outputs: dict) -> None:
    answer = client.predict("zoo", inputs, signature)
    assert set(answer) == set(outputs)
    for name, expected in outputs.items():
        assert answer[name].dtype == expected.dtype
        np.testing.assert_array_equal(answer[name], expected)


def test_volumes_pass_in_every_shape(client) -> None:
    rng = np.random.default_rng(0)
    for shape in ((1, 1, 1, 1), (3, 50, 70, 1), (2, 300, 300, 1)):
        volume = rng.normal(150, 60, shape).astype(np.float32)
        answer = client.predict("zoo", {"volume": volume, "spacing_mm": np.ones(3, np.float32)})
        expected = (volume > 100).astype(np.uint8) + (volume > 200)
        np.testing.assert_array_equal(answer["labels"], expected[..., 0])


def test_not_finite_numbers_pass(client) -> None:
    x = np.float32([np.nan, np.inf, -np.inf])
    np.testing.assert_array_equal(client.predict("zoo", {"x": x}, "half")["y"], x)


def test_large_arrays_pass(client) -> None:
    x = np.random.default_rng(0).normal(size=100_000).astype(np.float32)
    np.testing.assert_array_equal(client.predict("zoo", {"x": x}, "half")["y"], x / 2 + 2)
    x[[5, 70_000]] = np.nan, np.inf
    np.testing.assert_array_equal(client.predict("zoo", {"x": x}, "half")["y"], x / 2 + 2)


def test_metadata_and_status(client) -> None:
    metadata = client.metadata("zoo")
    assert (metadata.name, metadata.version) == ("zoo", 1)
    assert metadata.signatures["segment"].inputs["volume"].shape == (-1, -1, -1, 1)
    assert metadata.signatures["segment"].outputs["labels"].dtype == 4
    assert [(one.version, one.state) for one in client.status("scale")] == [(2, "AVAILABLE")]


@pytest.mark.parametrize(
    ("call", "rule"),
    [
        (lambda c, x: c.predict("none", {"x": x}), r"'none' is not served at .*Latest\(none\)"),
        (lambda c, x: c.predict("zoo", {"x": x}, version=7), r"'zoo' version 7 is not served"),
        (lambda c, x: c.predict("zoo", {"x": x}, "nope"), r"has no signature 'nope'"),
        (lambda c, x: c.predict("zoo", {"x": x}), r"refuses the request for 'zoo'"),
        (
            lambda c, x: c.predict("zoo", {"x": x[None, None]}, "serving_default"),
            r"refuses.*INVALID",
        ),
        (lambda c, x: c.predict("zoo", {"z": x}, "half"), r"refuses.*INVALID.*\bx\b"),
        (lambda c, x: c.status("none"), r"Could not find any versions of model none"),
        (lambda c, x: c.metadata("none"), r"'none' is not served"),
    ],
)
def test_refusals_are_one_line(client, call: Callable, rule: str) -> None:
    with pytest.raises(ServerError, match=rule) as caught:
        call(client, np.float32([1, 2, 3]))
    assert "\n" not in str(caught.value)
    assert client.url in str(caught.value)


@pytest.mark.parametrize("scheme", ["grpc", "http"])
def test_a_server_that_is_down(scheme: str) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
    with (
        Client(f"{scheme}://127.0.0.1:{port}", retries=Retries(times=0)) as client,
        pytest.raises(ServerError, match=r"no server answers at .* Start one with `tfseg serve`"),
    ):
        client.status("m")


@pytest.mark.parametrize("scheme", ["grpc", "http"])
def test_a_server_that_is_too_late(serve_fake, scheme: str) -> None:
    server, _ = serve_fake(threading.Event())
    url = server.grpc_url if scheme == "grpc" else server.rest_url
    if scheme == "http":  # the fake has no metadata that JSON needs
        url = _silent_server()
    with connect(url) as client, pytest.raises(ServerError, match=r"no answer within 0\.3 s"):
        client.predict("m", {"x": np.float32([1])}, "serving_default", timeout_s=0.3)


def _silent_server() -> str:
    listener = socket.create_server(("127.0.0.1", 0))
    threading.Thread(target=_hold, args=(listener,), daemon=True).start()
    return f"http://127.0.0.1:{listener.getsockname()[1]}"


def _hold(listener: socket.socket) -> None:
    with listener:
        connection, _ = listener.accept()
        with connection:
            while connection.recv(4096):
                pass


def _one_answer(answer: bytes) -> str:
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        with listener:
            connection, _ = listener.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(answer)

    threading.Thread(target=serve, daemon=True).start()
    return f"http://127.0.0.1:{listener.getsockname()[1]}"


@pytest.mark.parametrize("protocol", ["tfserving", "kserve"])
@pytest.mark.parametrize(
    "body",
    [b"<html>hello</html>", b"[]", b'{"model_version_status": [{"version": "x"}]}', b"[" * 99_999],
)
def test_something_that_is_no_model_server(body: bytes, protocol: str) -> None:
    head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\n\r\n".encode()
    with (
        Client(_one_answer(head + body), protocol=protocol) as client,
        pytest.raises(ServerError, match=r"(?i)is it a model server"),
    ):
        client.status("m")


def test_a_server_whose_own_limit_is_shorter() -> None:
    body = b'{"error": "Run() timed out"}'
    head = f"HTTP/1.1 504 Gateway Timeout\r\nContent-Length: {len(body)}\r\n\r\n".encode()
    with (
        connect(_one_answer(head + body)) as client,
        pytest.raises(ServerError, match=r"gave up: Run\(\) timed out.*rest_api_timeout_in_ms"),
    ):
        client.status("m")


def test_an_answer_that_is_cut_off_is_reported() -> None:
    cut = b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{"
    with (
        Client(_one_answer(cut), retries=Retries(times=0)) as client,
        pytest.raises(ServerError, match=r"not ready \(IncompleteRead"),
    ):
        client.status("m")


def test_an_http_error_page_is_reported() -> None:
    page = b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 3\r\n\r\nbad"
    with (
        Client(_one_answer(page), retries=Retries(times=0)) as client,
        pytest.raises(ServerError, match="HTTP status 502"),
    ):
        client.status("m")


@pytest.mark.parametrize(
    "url",
    [
        "localhost:8500",
        "ftp://a:1",
        "grpc://a",
        "http://a:x",
        "http://a:99999",
        "http://a:1/v1",
        "",
    ],
)
def test_bad_urls(url: str) -> None:
    with pytest.raises(ConfigError, match="must be grpc://HOST:PORT or http://HOST:PORT") as caught:
        connect(url)
    assert repr(url) in str(caught.value)


def test_one_array_for_one_goes_as_rows() -> None:
    from tfseg_serving.client.json_tensors import predict_body

    one = {"x": TensorInfo(1, (-1, 2))}

    def body(x: np.ndarray, outputs: dict[str, TensorInfo]) -> bytes:
        return b"".join(predict_body("s", {"x": x}, Signature(one, outputs, "")))

    pair = np.float32([[1, 2]])
    assert body(pair, {"y": TensorInfo(1, (-1,))}) == (
        b'{"signature_name":"s","instances":[[1.0,2.0]]}'
    )
    columns = b'{"signature_name":"s","inputs":{"x":[[1.0,2.0]]}}'
    for shape in ((), None):  # a lone number, or of any rank: rows cannot tell it
        assert body(pair, {"y": TensorInfo(1, shape)}) == columns
    assert body(pair, {"y": TensorInfo(1, (-1,)), "z": TensorInfo(1, (-1,))}) == columns
    assert b'"inputs":{"x":1.0}' in body(np.array(1, np.float32), {"y": TensorInfo(1, (-1,))})


def test_compact_json_of_floats() -> None:
    from tfseg_serving.client.json_tensors import _json_array

    volume = np.float32([[[-1024, 0.1], [3, 1e-7]]])
    text = b"".join(_json_array(volume)).decode()
    assert text == "[[[-1024.0,0.1],[3.0,1e-7]]]"
    flat = np.arange(200_000, dtype=np.float32)
    np.testing.assert_array_equal(json.loads(b"".join(_json_array(flat))), flat)
