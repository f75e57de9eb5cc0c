"""gRPC calls without a message: they keep nobody out, and end by themselves."""

from __future__ import annotations

import contextlib
import socket
import struct
import time
from collections.abc import Callable, Iterator
from urllib.parse import urlsplit

import numpy as np
import pytest

from tfseg_serving import arrivals
from tfseg_serving.client import Client, Retries

_DATA, _HEADERS, _RST_STREAM, _SETTINGS = 0, 1, 3, 4


def _frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream) + payload


def _headers() -> bytes:
    fields = {
        ":method": "POST",
        ":scheme": "http",
        ":path": "/tensorflow.serving.ModelService/GetModelStatus",
        ":authority": "x",
        "te": "trailers",
        "content-type": "application/grpc",
    }
    texts = [text.encode() for field in fields.items() for text in field]
    pairs = zip(texts[::2], texts[1::2], strict=True)
    # Literals without indexing and without Huffman coding: RFC 7541, 6.2.2.
    return b"".join(
        b"\0" + bytes([len(name)]) + name + bytes([len(value)]) + value for name, value in pairs
    )


@pytest.fixture
def half_calls() -> Iterator[Callable[[str, int], socket.socket]]:
    """Open streams with headers and no message on a connection of their own."""
    opened: list[socket.socket] = []

    def start(url: str, streams: int) -> socket.socket:
        parts = urlsplit(url)
        link = socket.create_connection((parts.hostname, parts.port), timeout=20)
        opened.append(link)
        calls = [_frame(_HEADERS, 4, 2 * number + 1, _headers()) for number in range(streams)]
        link.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + _frame(_SETTINGS, 0, 0))
        link.sendall(b"".join(calls))
        return link

    yield start
    for link in opened:
        with contextlib.suppress(OSError):
            link.shutdown(socket.SHUT_RDWR)  # a file of it may be open, too
        link.close()


def _frames(link: socket.socket) -> Iterator[tuple[int, int, int, bytes]]:
    with link.makefile("rb") as file:
        while head := file.read(9):
            size, kind, flags, stream = struct.unpack(">IBBI", b"\0" + head)
            yield kind, flags, stream, file.read(size)


def _frames_to_the_end(link: socket.socket) -> Iterator[tuple[int, int, int, bytes]]:
    for frame in _frames(link):
        yield frame
        if frame[0] == _HEADERS and frame[1] & 1:
            return


def _resets(link: socket.socket) -> Iterator[int]:
    """Yield the streams that end."""
    for kind, flags, stream, _ in _frames(link):
        if kind == _RST_STREAM or (kind == _HEADERS and flags & 1):
            yield stream


@pytest.mark.parametrize("connections", [1, 6])
def test_calls_without_a_message_keep_nobody_out(serve_fake, half_calls, connections: int) -> None:
    server, _ = serve_fake(max_concurrency=1)
    for _ in range(connections):
        half_calls(server.grpc_url, 100)
    x = np.float32([1, 2])
    for _ in range(3):
        with Client(server.grpc_url, retries=Retries(times=1)) as client:
            assert client.status("m", timeout_s=10)[0].state == "AVAILABLE"
            answer = client.predict("m", {"x": x}, "serving_default", timeout_s=10)
            assert answer["y"].tolist() == [2, 4]


def test_silent_calls_end_and_slow_ones_do_not(
    serve_fake, half_calls, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(arrivals, "SILENT_S", 0.6)
    monkeypatch.setattr(arrivals, "_LOOK_S", 0.05)
    server, _ = serve_fake()
    silent, slow = half_calls(server.grpc_url, 3), half_calls(server.grpc_url, 1)
    # A GetModelStatusRequest for "m", behind gRPC's five bytes: a byte every 0.2 s takes 2 s.
    message = b"\0\0\0\0\5" + b"\x0a\x03\x0a\x01m"
    for byte in message:
        time.sleep(0.2)
        slow.sendall(_frame(_DATA, 0, 1, bytes([byte])))
    slow.sendall(_frame(_DATA, 1, 1))
    ended: set[int] = set()
    for stream in _resets(silent):
        ended.add(stream)
        if ended == {1, 3, 5}:
            break
    answers = [payload for kind, _, _, payload in _frames_to_the_end(slow) if kind == _DATA]
    assert len(b"".join(answers)) > 5  # the status of version 1


def test_how_long_a_connection_is_silent() -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        socket.create_connection(server.getsockname()) as client,
    ):
        accepted, _ = server.accept()
        with accepted:
            peer = "ipv4:{}:{}".format(*client.getsockname())
            client.sendall(b"x")
            time.sleep(0.3)
            assert 0.25 < arrivals.silent_s(peer) < 5
            client.sendall(b"x")
            assert arrivals.silent_s(peer) < 0.2
    assert arrivals.silent_s("ipv4:127.0.0.1:1") == arrivals.silent_s("unix:") == 0
