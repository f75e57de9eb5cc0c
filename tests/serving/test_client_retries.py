"""When the client calls again, when not, and that it keeps to its deadline."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import grpc
import pytest

from tfseg.errors import ServerError
from tfseg.parallel import in_order
from tfseg_serving import wire
from tfseg_serving.client import Client, Retries
from tfseg_serving.client.retries import worth_again
from tfseg_serving.status import Code, StatusError
from tfseg_serving.wire import VersionStatus

QUICK = Retries(times=3, first_s=0.01)
AVAILABLE = [VersionStatus(1, "AVAILABLE")]


class Clock:
    """A time that passes only in sleep."""

    def __init__(self) -> None:
        self.now = 100.0
        self.slept: list[float] = []

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


def _call(
    retries: Retries, failures: list[Code], timeout_s: float = 1e6, share: float = 0.0
) -> tuple[Clock, list[float], Any]:
    """Call something that fails so often, then answers; return times, deadlines and answer."""
    clock, left, todo = Clock(), [], list(failures)

    def attempt(left_s: float) -> str:
        left.append(left_s)
        if todo:
            raise StatusError(todo.pop(0), "not now")
        return "done"

    try:
        answer: Any = retries.call(
            attempt, timeout_s, share=lambda: share, sleep=clock.sleep, clock=lambda: clock.now
        )
    except StatusError as error:
        answer = error.code
    return clock, left, answer


def test_pauses_double_up_to_the_longest_with_jitter() -> None:
    retries = Retries(times=6, first_s=1.0, longest_s=5.0)
    failures = [Code.UNAVAILABLE] * 6
    clock, left, answer = _call(retries, failures)
    assert answer == "done"
    assert clock.slept == [0.5, 1.0, 2.0, 2.5, 2.5, 2.5]  # half of 1, 2, 4, 5, 5, 5
    assert left[0] == 1e6
    assert left[3] == 1e6 - 3.5
    clock, _, _ = _call(retries, failures, share=0.5)
    assert clock.slept == [0.75, 1.5, 3.0, 3.75, 3.75, 3.75]


@pytest.mark.parametrize("code", list(Code))
def test_only_what_may_pass_is_tried_again(code: Code) -> None:
    _, left, answer = _call(Retries(), [code])
    again = code in {Code.UNAVAILABLE, Code.RESOURCE_EXHAUSTED}
    assert len(left) == (2 if again else 1)
    assert answer == ("done" if again else code)


def test_the_last_error_is_the_one_that_counts() -> None:
    _, left, answer = _call(Retries(times=1), [Code.UNAVAILABLE, Code.RESOURCE_EXHAUSTED])
    assert (len(left), answer) == (2, Code.RESOURCE_EXHAUSTED)
    _, left, answer = _call(Retries(times=0), [Code.UNAVAILABLE])
    assert (len(left), answer) == (1, Code.UNAVAILABLE)


def test_no_pause_passes_the_deadline() -> None:
    clock, left, answer = _call(Retries(first_s=1.0), [Code.UNAVAILABLE] * 9, timeout_s=1.4)
    assert clock.slept == [0.5]  # another one of 1 s would end after 1.5 s
    assert (len(left), answer) == (2, Code.UNAVAILABLE)


def test_a_message_past_the_limit_is_not_sent_again() -> None:
    text = "Received message larger than max (32243844 vs. 4194304)"
    assert not worth_again(StatusError(Code.RESOURCE_EXHAUSTED, text))
    assert worth_again(StatusError(Code.RESOURCE_EXHAUSTED, "too many predictions are waiting"))


# --- servers that come round


@pytest.fixture(params=["grpc", "http"])
def moody(request: pytest.FixtureRequest) -> Iterator[tuple[str, list[int], list[float]]]:
    """A server that answers a status call by the codes in a list, then well: URL, list, times."""
    failures: list[int] = []
    times: list[float] = []

    def outcome() -> int:
        times.append(time.monotonic())
        return failures.pop(0) if failures else 0

    if request.param == "grpc":

        class Handler(grpc.GenericRpcHandler):
            def service(self, details: grpc.HandlerCallDetails) -> Any:
                def status(_: bytes, context: grpc.ServicerContext) -> bytes:
                    if code := outcome():
                        codes = {one.value[0]: one for one in grpc.StatusCode}
                        context.abort(codes[code], "not now")
                    return wire.encode_status_response(AVAILABLE)

                return grpc.unary_unary_rpc_method_handler(status)

        server = grpc.server(ThreadPoolExecutor(2), handlers=(Handler(),))
        port = server.add_insecure_port("127.0.0.1:0")
        server.start()
        yield f"grpc://127.0.0.1:{port}", failures, times
        server.stop(None)
        return

    class Site(BaseHTTPRequestHandler):
        def log_message(self, *_: Any) -> None:
            """Keep quiet."""

        def do_GET(self) -> None:
            code = outcome()
            status = Code(code).http
            body = (
                b'{"error": "not now"}'
                if code
                else b'{"model_version_status": [{"version": "1", "state": "AVAILABLE", '
                b'"status": {"error_code": "OK", "error_message": ""}}]}'
            )
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    site = ThreadingHTTPServer(("127.0.0.1", 0), Site)
    threading.Thread(target=site.serve_forever, args=(0.02,), daemon=True).start()
    yield f"http://127.0.0.1:{site.server_port}", failures, times
    site.shutdown()
    site.server_close()


def test_a_server_that_is_busy_for_a_moment(moody) -> None:
    url, failures, times = moody
    failures += [Code.UNAVAILABLE, Code.RESOURCE_EXHAUSTED]
    with Client(url, retries=QUICK) as client:
        assert client.status("m") == AVAILABLE
    assert len(times) == 3


def test_a_refusal_is_final(moody) -> None:
    url, failures, times = moody
    failures += [Code.INVALID_ARGUMENT]
    with Client(url, retries=QUICK) as client, pytest.raises(ServerError, match="not now"):
        client.status("m")
    assert len(times) == 1


@pytest.mark.parametrize("scheme", ["grpc", "http"])
def test_a_server_that_starts_late(scheme: str, zoo) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
    real = (zoo.grpc_url if scheme == "grpc" else zoo.rest_url).rsplit(":", 1)[1]
    relay = threading.Timer(0.3, _relay_once, (port, int(real)))
    relay.start()
    with Client(f"{scheme}://127.0.0.1:{port}", retries=Retries(times=8, first_s=0.2)) as client:
        assert [one.state for one in client.status("zoo")] == ["AVAILABLE"]
    relay.join(10)


def _relay_once(port: int, to: int) -> None:
    """Take one connection to ``port`` and join it with one to ``to``."""
    with socket.create_server(("127.0.0.1", port)) as listener:
        listener.settimeout(10)
        near, _ = listener.accept()
    far = socket.create_connection(("127.0.0.1", to), timeout=10)

    def pass_on(source: socket.socket, target: socket.socket) -> None:
        try:
            while data := source.recv(65536):
                target.sendall(data)
            target.shutdown(socket.SHUT_WR)
        except OSError:
            return  # the other direction ended first

    with near, far:
        back = threading.Thread(target=pass_on, args=(far, near), daemon=True)
        back.start()
        pass_on(near, far)
        back.join(10)


def test_an_answer_that_drips_ends_at_the_deadline() -> None:
    listener = socket.create_server(("127.0.0.1", 0))
    stop = threading.Event()

    def drip() -> None:
        connection, _ = listener.accept()
        with listener, connection:
            connection.recv(65536)
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
            while not stop.wait(0.02):
                try:
                    connection.sendall(b" ")
                except OSError:
                    return  # the client left

    dripping = threading.Thread(target=drip, daemon=True)
    dripping.start()
    start = time.monotonic()
    url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    with Client(url) as client, pytest.raises(ServerError, match=r"no answer within 0\.3 s"):
        client.status("m", timeout_s=0.3)
    assert time.monotonic() - start < 5
    stop.set()
    dripping.join(10)


# --- several at once


def test_results_come_in_order_and_no_more_than_asked_are_under_way() -> None:
    lock, under_way, most, taken = threading.Lock(), 0, 0, []

    def items() -> Iterator[int]:
        for k in range(30):
            taken.append(k)
            yield k

    def slow(k: int) -> int:
        nonlocal under_way, most
        with lock:
            under_way += 1
            most = max(most, under_way)
        time.sleep(0.002 * (k % 3))
        with lock:
            under_way -= 1
        return -k

    for done, result in enumerate(in_order(slow, items(), 4)):
        assert result == -done
        assert len(taken) <= done + 1 + 4 + 1
    assert most <= 4


def test_the_first_error_ends_it() -> None:
    seen = []

    def fail_at_three(k: int) -> int:
        seen.append(k)
        if k == 3:
            raise ValueError("three")
        return k

    results = in_order(fail_at_three, iter(range(100)), 2)
    with pytest.raises(ValueError, match="three"):
        list(results)
    assert max(seen) < 10
