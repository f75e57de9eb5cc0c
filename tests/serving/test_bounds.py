"""What holds the server in bounds: size, memory, turns, patience, certificates."""

from __future__ import annotations

import socket
import ssl
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlsplit

import grpc
import numpy as np
import pytest

from tfseg.errors import ConfigError
from tfseg_serving import rest_app, rest_front
from tfseg_serving.client import connect
from tfseg_serving.core import Admission, Memory, Ticket
from tfseg_serving.status import StatusError
from tfseg_serving.tls import Tls, tls_from_file

BODY = '{"instances": [1, 2]}'
PREDICT = "/v1/models/m:predict"
X = {"x": np.array([1, 2], np.float32)}


def _connection(url: str) -> socket.socket:
    parts = urlsplit(url)
    return socket.create_connection((parts.hostname, parts.port), timeout=20)


def _eventually(condition) -> None:
    deadline = time.monotonic() + 15
    while not condition():
        assert time.monotonic() < deadline, "it did not come to pass"
        time.sleep(0.01)


# --- the bounds alone


def test_memory_is_taken_and_given_back() -> None:
    memory = Memory(100)
    with memory.hold(60):
        with pytest.raises(StatusError, match=r"hold 60 bytes and 41 more .* limit of 100"):
            memory.take(41)
        with memory.hold(40):
            pass
    with memory.hold(100):
        pass


def test_an_abandoned_request_leaves_the_queue() -> None:
    admission = Admission(1, 1)
    ticket = Ticket()
    refused: list[StatusError] = []

    def wait() -> None:
        try:
            with admission.slot(ticket):
                pass
        except StatusError as error:
            refused.append(error)

    with admission.slot(Ticket()):
        waiting = threading.Thread(target=wait)
        waiting.start()
        ticket.abandon()
        waiting.join(10)
        assert [error.code.name for error in refused] == ["CANCELLED"]
    with admission.slot(Ticket(0.1)):  # nothing was lost
        pass


def test_a_turn_that_does_not_come_in_time() -> None:
    admission = Admission(1, 1)
    with (
        admission.slot(Ticket()),
        pytest.raises(StatusError, match="DEADLINE_EXCEEDED"),
        admission.slot(Ticket(0.01)),
    ):
        pass


def test_every_turn_is_given_once() -> None:
    admission = Admission(3, 1000)
    inside, most = [0], [0]
    lock = threading.Lock()

    def work(k: int) -> None:
        with admission.slot(Ticket(20)):
            with lock:
                inside[0] += 1
                most[0] = max(most[0], inside[0])
            time.sleep(0.0005)
            with lock:
                inside[0] -= 1

    with ThreadPoolExecutor(32) as pool:
        list(pool.map(work, range(300)))
    assert most[0] == 3


# --- the server


def test_requests_past_the_memory_are_429(serve_fake, send) -> None:
    server, _ = serve_fake(max_memory_bytes=10_000)
    answer = send(server.rest_url, "POST", PREDICT, b" " * 10_001)
    assert answer.status == 429
    assert b"10000" in answer.body
    with (
        grpc.insecure_channel(urlsplit(server.grpc_url).netloc) as channel,
        pytest.raises(grpc.RpcError) as caught,
    ):
        channel.unary_unary("/tensorflow.serving.PredictionService/Predict")(bytes(10_001))
    assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert send(server.rest_url, "POST", PREDICT, BODY).status == 200


def test_an_inflated_body_counts_too(serve_fake, send) -> None:
    import gzip

    server, _ = serve_fake(max_memory_bytes=100_000)
    body = gzip.compress(bytes(1_000_000))
    answer = send(server.rest_url, "POST", PREDICT, body, {"Content-Encoding": "gzip"})
    assert answer.status == 429


def test_a_client_that_leaves_gives_up_its_turn(serve_fake, send) -> None:
    gate = threading.Event()
    server, servable = serve_fake(gate, max_concurrency=1)  # 1 runs, 8 wait
    core = server._core
    head = f"POST {PREDICT} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(BODY)}\r\n\r\n{BODY}"
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(send, server.rest_url, "POST", PREDICT, BODY)
        assert servable.entered.acquire(timeout=10)
        waiting = [_connection(server.rest_url) for _ in range(8)]
        for one in waiting:
            one.sendall(head.encode())
        _eventually(lambda: core.requests_under_way == 9)
        assert send(server.rest_url, "POST", PREDICT, BODY).status == 429
        for one in waiting:
            one.close()
        _eventually(lambda: core.requests_under_way == 1)
        gate.set()
        assert first.result().status == 200
    assert not servable.entered.acquire(blocking=False)  # none of the eight ran


def test_a_cancelled_grpc_call_gives_up_its_turn(serve_fake) -> None:
    gate = threading.Event()
    server, servable = serve_fake(gate, max_concurrency=1)
    core = server._core
    with ThreadPoolExecutor(1) as pool, connect(server.grpc_url) as client:
        first = pool.submit(client.predict, "m", X, "serving_default")
        assert servable.entered.acquire(timeout=10)
        from tfseg_serving import wire

        message = wire.encode_predict_request(wire.ModelSpec("m"), X)
        with grpc.insecure_channel(urlsplit(server.grpc_url).netloc) as channel:
            call = channel.unary_unary(wire.PREDICT).future(message)
            _eventually(lambda: core.requests_under_way == 2)
            call.cancel()
            _eventually(lambda: core.requests_under_way == 1)
        gate.set()
        first.result()


def test_questions_take_less_than_50_ms_while_every_turn_is_taken(serve_fake, send) -> None:
    gate = threading.Event()
    server, servable = serve_fake(gate, max_concurrency=2)
    with ThreadPoolExecutor(18) as pool, connect(server.grpc_url) as client:
        asked = [pool.submit(send, server.rest_url, "POST", PREDICT, BODY) for _ in range(18)]
        for _ in range(2):
            assert servable.entered.acquire(timeout=10)
        client.status("m")  # opens the channel
        fastest = []
        for ask in (
            lambda: send(server.rest_url, "GET", "/v1/models/m"),
            lambda: client.status("m"),
            lambda: client.metadata("m"),
        ):
            times = []
            for _ in range(5):
                start = time.perf_counter()
                ask()
                times.append(time.perf_counter() - start)
            fastest.append(min(times))
        gate.set()
        assert all(one.result().status == 200 for one in asked)
    assert max(fastest) < 0.05, fastest


@pytest.mark.parametrize(
    "sent",
    [b"", b"POST /v1/mod", b"POST /v1/models/m:predict HTTP/1.1\r\nContent-Length: 9\r\n\r\n{"],
)
def test_silent_clients_are_dropped(serve_fake, monkeypatch, sent: bytes) -> None:
    monkeypatch.setattr(rest_front, "_PATIENCE_S", 0.3)
    monkeypatch.setattr(rest_app, "_BODY_IDLE_S", 0.3)
    server, _ = serve_fake()
    with _connection(server.rest_url) as client:
        client.sendall(sent)
        try:
            assert b"200" not in client.recv(1000)
        except ConnectionResetError:
            return  # dropped, too


def test_a_client_that_does_not_read_is_dropped(serve_fake, monkeypatch) -> None:
    monkeypatch.setattr(rest_front, "_STALL_S", 0.2)
    server, _ = serve_fake()
    body = '{"instances": [' + ",".join(["0.123456789"] * 400_000) + "]}"
    head = f"POST {PREDICT} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n"
    with socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        parts = urlsplit(server.rest_url)
        client.connect((parts.hostname, parts.port))
        client.sendall((head + body).encode())
        connections = server._rest._server.server_state.connections
        _eventually(lambda: len(connections) == 1)
        _eventually(lambda: not connections)


def test_an_endless_head_is_refused(serve_fake) -> None:
    server, _ = serve_fake()
    with _connection(server.rest_url) as client:
        client.sendall(b"GET /v1/models/m HTTP/1.1\r\n")
        received = b""
        try:
            for _ in range(100):
                client.sendall(b"X-Filler: " + b"x" * 8000 + b"\r\n")
            received = client.recv(1000)
        except (ConnectionResetError, BrokenPipeError):
            return  # closed in the middle of it
    assert received.startswith(b"HTTP/1.1 400 ")


# --- certificates


def _https_get(url: str, context: ssl.SSLContext) -> int:
    import urllib.request

    with urllib.request.urlopen(f"{url}/v1/models/m", context=context, timeout=10) as answer:
        return answer.status


@pytest.mark.parametrize("verify", [False, True])
def test_tls_and_client_certificates(
    serve_fake, certificates, ssl_config, tmp_path, verify: bool
) -> None:
    tls = tls_from_file(ssl_config(tmp_path / "ssl.config", verify=verify))
    server, _ = serve_fake(tls=tls)
    assert server.rest_url.startswith("https://")
    assert server.grpc_url.startswith("grpcs://")
    with_client = ssl.create_default_context(cafile=str(certificates / "ca.pem"))
    with_client.load_cert_chain(certificates / "client.pem", certificates / "client.key")
    without = ssl.create_default_context(cafile=str(certificates / "ca.pem"))
    assert _https_get(server.rest_url, with_client) == 200
    if verify:
        with pytest.raises(OSError, match=r"(?i)certificate required|reset|closed|EOF"):
            _https_get(server.rest_url, without)
    else:
        assert _https_get(server.rest_url, without) == 200
    with pytest.raises(OSError, match=r"(?i)certificate verify failed"):
        _https_get(server.rest_url, ssl.create_default_context())

    def status(*, certified: bool) -> bytes:
        key, chain = (
            ((certificates / "client.key").read_bytes(), (certificates / "client.pem").read_bytes())
            if certified
            else (None, None)
        )
        credentials = grpc.ssl_channel_credentials(
            (certificates / "ca.pem").read_bytes(), key, chain
        )
        with grpc.secure_channel(urlsplit(server.grpc_url).netloc, credentials) as channel:
            path = "/tensorflow.serving.ModelService/GetModelStatus"
            return channel.unary_unary(path)(b"\x0a\x03\x0a\x01m", timeout=5)

    assert status(certified=True)
    if verify:
        with pytest.raises(grpc.RpcError):
            status(certified=False)
    else:
        assert status(certified=False)


def test_bad_certificates(certificates, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="PEM key and a PEM certificate that belong together"):
        Tls(b"nonsense", b"nonsense").https_context()
    mixed = Tls(
        (certificates / "client.key").read_bytes(), (certificates / "server.pem").read_bytes()
    )
    with pytest.raises(ConfigError, match="belong together"):
        mixed.https_context()
    path = tmp_path / "ssl.config"
    path.write_text("server_key: 'x'")
    with pytest.raises(ConfigError, match="must have server_key and server_cert"):
        tls_from_file(path)
    path.write_text("server_key: 'x' server_cert: 'y' client_verify: true")
    with pytest.raises(ConfigError, match="client_verify needs custom_ca"):
        tls_from_file(path)
