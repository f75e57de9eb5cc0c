"""The server as a whole: concurrency, bounds, draining. The models are fakes that wait at gates."""

from __future__ import annotations

import http.client
import json
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit

import numpy as np
import pytest

from tfseg.errors import ConfigError, ServerError
from tfseg_serving.client import connect

BODY = '{"instances": [1, 2]}'
X = {"x": np.array([1, 2], np.float32)}


def test_slow_predictions_do_not_block_questions(serve_fake, send) -> None:
    gate = threading.Event()
    server, servable = serve_fake(gate, max_concurrency=1)
    with ThreadPoolExecutor(8) as pool:
        slow = [
            pool.submit(send, server.rest_url, "POST", "/v1/models/m:predict", BODY)
            for _ in range(4)
        ]
        assert servable.entered.acquire(timeout=10)
        assert send(server.rest_url, "GET", "/v1/models/m").status == 200
        with connect(server.grpc_url) as client:
            assert client.status("m")[0].state == "AVAILABLE"
            assert client.metadata("m").version == 1
        assert not any(one.done() for one in slow)
        gate.set()
        assert [one.result().status for one in slow] == [200] * 4


def test_predictions_run_side_by_side(serve_fake, send) -> None:
    gate = threading.Event()
    server, servable = serve_fake(gate, max_concurrency=3)
    with ThreadPoolExecutor(3) as pool:
        for _ in range(3):
            pool.submit(send, server.rest_url, "POST", "/v1/models/m:predict", BODY)
        for _ in range(3):  # all three are inside at once
            assert servable.entered.acquire(timeout=10)
        gate.set()


def test_too_many_waiting_predictions_are_refused(serve_fake, send) -> None:
    gate = threading.Event()
    server, _ = serve_fake(gate, max_concurrency=1)  # 1 runs, 8 wait
    with ThreadPoolExecutor(10) as pool:
        answers = [
            pool.submit(send, server.rest_url, "POST", "/v1/models/m:predict", BODY)
            for _ in range(10)
        ]
        while not any(one.done() for one in answers):
            time.sleep(0.01)
        with (
            connect(server.grpc_url) as client,
            pytest.raises(ServerError, match="too many predictions are waiting"),
        ):
            client.predict("m", X, "serving_default")
        gate.set()
        assert sorted(one.result().status for one in answers) == [200] * 9 + [429]


def test_waiting_longer_than_the_rest_timeout_is_504(serve_fake, send) -> None:
    gate = threading.Event()
    server, servable = serve_fake(gate, max_concurrency=1, rest_timeout_s=0.2)
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(send, server.rest_url, "POST", "/v1/models/m:predict", BODY)
        assert servable.entered.acquire(timeout=10)
        second = send(server.rest_url, "POST", "/v1/models/m:predict", BODY)
        gate.set()
        assert first.result().status == 200
    assert second.status == 504


def test_stopping_lets_requests_finish_and_takes_no_new_ones(serve_fake, send) -> None:
    gate = threading.Event()
    server, servable = serve_fake(gate)
    with ThreadPoolExecutor(3) as pool:
        rest = pool.submit(send, server.rest_url, "POST", "/v1/models/m:predict", BODY)
        client = connect(server.grpc_url)
        grpc_call = pool.submit(client.predict, "m", X, "serving_default")
        for _ in range(2):
            assert servable.entered.acquire(timeout=10)
        stopped = pool.submit(server.stop, 20)
        parts = urlsplit(server.rest_url)
        deadline = time.monotonic() + 10
        while True:  # the listening socket closes while the two are still under way
            try:
                socket.create_connection((parts.hostname, parts.port), timeout=1).close()
            except OSError:
                break
            assert time.monotonic() < deadline
            time.sleep(0.02)
        assert not servable.closed
        gate.set()
        assert json.loads(rest.result().body) == {"predictions": [2.0, 4.0]}
        assert grpc_call.result()["y"].tolist() == [2, 4]
        assert stopped.result() is True
        client.close()
    assert servable.closed


def test_requests_that_outlast_the_grace_are_reported(serve_fake, send) -> None:
    gate = threading.Event()
    server, servable = serve_fake(gate)

    def ask() -> None:
        with pytest.raises((OSError, http.client.HTTPException)):
            send(server.rest_url, "POST", "/v1/models/m:predict", BODY)

    with ThreadPoolExecutor(1) as pool:
        cut = pool.submit(ask)
        assert servable.entered.acquire(timeout=10)
        assert server.stop(0.1) is False
        cut.result()
        servable.closed = False  # let the fake end its run in peace
        gate.set()


def test_an_idle_connection_does_not_hold_up_the_stop(serve_fake) -> None:
    server, _ = serve_fake()
    parts = urlsplit(server.rest_url)
    connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=10)
    connection.request("GET", "/v1/models/m")
    connection.getresponse().read()
    start = time.monotonic()
    assert server.stop(20)
    assert time.monotonic() - start < 5
    connection.close()


def test_requests_over_the_bound_are_refused_and_the_server_goes_on(serve_fake, send) -> None:
    server, _ = serve_fake(max_request_bytes=100_000)
    big = np.zeros(1_000_000, np.float32)
    for url in (server.grpc_url, server.rest_url):
        with connect(url) as client, pytest.raises(ServerError):
            client.predict("m", {"x": big}, "serving_default")
    answer = send(server.rest_url, "POST", "/v1/models/m:predict", b" " * 100_001)
    assert answer.status == 429
    assert b"larger than 100000 bytes" in answer.body
    assert send(server.rest_url, "POST", "/v1/models/m:predict", BODY).status == 200


@pytest.mark.parametrize("option", ["rest_port", "grpc_port"])
def test_port_in_use(serve_fake, option: str) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        rule = f"--{option.replace('_', '-')} must be a free port of 127.0.0.1; {port} is in use"
        with pytest.raises(ConfigError, match=rule):
            serve_fake(**{option: port})


def test_two_servers_do_not_share_a_port(serve_fake) -> None:
    first, _ = serve_fake()
    for option, url in (("rest_port", first.rest_url), ("grpc_port", first.grpc_url)):
        with pytest.raises(ConfigError, match="in use"):
            serve_fake(**{option: urlsplit(url).port})


@pytest.mark.parametrize(
    "shape",
    [
        pytest.param((64, 512, 512), id="67 MB"),
        pytest.param((300, 512, 512), id="315 MB", marks=pytest.mark.slow),
    ],
)
def test_large_volumes_pass_both_ways(serve_fake, shape: tuple[int, ...]) -> None:
    server, _ = serve_fake()
    volume = np.zeros(shape, np.float32)
    volume[12, 130, 140] = 250
    with connect(server.grpc_url) as client:
        answer = client.predict("m", {"x": volume}, "serving_default")["y"]
    assert answer.shape == volume.shape
    assert answer[12, 130, 140] == 500
    assert np.count_nonzero(answer) == 1
