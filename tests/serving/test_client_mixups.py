"""URLs of the wrong kind: what the server speaks is found out and named."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tfseg.errors import ServerError
from tfseg_serving.client import Client, Retries, Tls
from tfseg_serving.client.transports import is_this_machine
from tfseg_serving.tls import tls_from_file

_KINDS = ("http", "https", "grpc", "grpcs")


def _refusal(url: str, tls: Tls | None = None) -> str:
    with (
        Client(url, tls=tls, retries=Retries(times=0)) as client,
        pytest.raises(ServerError) as refused,
    ):
        client.status("m", timeout_s=20)
    text = str(refused.value)
    assert text.isprintable()
    return text


@pytest.mark.parametrize("encrypted", [False, True], ids=["plain", "tls"])
def test_every_wrong_scheme_at_every_port(
    serve_fake, ssl_config, certificates: Path, tmp_path: Path, encrypted: bool
) -> None:
    tls = tls_from_file(ssl_config(tmp_path / "c", verify=False)) if encrypted else None
    server, _ = serve_fake(tls=tls)
    for right in (server.rest_url, server.grpc_url):
        spoken, _, place = right.partition("://")
        for wrong in set(_KINDS) - {spoken}:
            ca = Tls(certificates / "ca.pem") if wrong[-1] == "s" else None
            text = _refusal(f"{wrong}://{place}", ca)
            assert f"Write {spoken}:// for this port" in text, (wrong, right)


def test_a_server_that_asks_for_certificates_still_speaks_tls(
    serve_fake, ssl_config, tmp_path: Path
) -> None:
    server, _ = serve_fake(tls=tls_from_file(ssl_config(tmp_path / "c", verify=True)))
    for url in (server.rest_url, server.grpc_url):
        for wrong in ("http", "grpc"):
            text = _refusal(f"{wrong}://{url.partition('://')[2]}")
            assert " speaks TLS" in text or " with TLS" in text


@pytest.fixture
def says() -> Iterator:
    """Answer every connection with the same bytes."""
    listening: list[socket.socket] = []

    def start(answer: bytes) -> int:
        server = socket.create_server(("127.0.0.1", 0))
        listening.append(server)

        def serve() -> None:
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:
                    return
                with connection:
                    connection.recv(65536)
                    connection.sendall(answer)

        threading.Thread(target=serve, daemon=True).start()
        return server.getsockname()[1]

    yield start
    for server in listening:
        server.close()


@pytest.mark.parametrize("scheme", _KINDS)
def test_something_else_altogether(says, scheme: str) -> None:
    port = says(b"SSH-2.0-OpenSSH_9.6 \x1b[31m\r\n")
    assert "it is no model server" in _refusal(f"{scheme}://127.0.0.1:{port}")


@pytest.mark.parametrize(
    "answer",
    [
        b'HTTP/1.1 400 Bad\r\nContent-Length: 26\r\n\r\n{"error": "\\u001b[31mred"}',
        b"HTTP/1.1 200 OK\r\nContent-Length: \x1b[31m\r\n\r\n{}",
    ],
)
def test_nothing_that_a_server_says_steers_the_terminal(says, answer: bytes) -> None:
    assert "x1b[31m" in _refusal(f"http://127.0.0.1:{says(answer)}")


@pytest.mark.parametrize(
    ("host", "here"),
    [
        *((host, True) for host in ("localhost", "LocalHost.", "a.localhost", "127.0.0.1")),
        *((host, True) for host in ("127.9.9.9", "::1", "::ffff:127.0.0.1", "0.0.0.0")),
        *((host, False) for host in ("localhost.example", "128.0.0.1", "::2", "host")),
    ],
)
def test_this_machine(host: str, here: bool) -> None:
    assert is_this_machine(host) is here


@pytest.mark.parametrize("variable", ["http_proxy", "https_proxy", "grpc_proxy"])
def test_proxies_are_not_asked_for_this_machine_and_named_for_others(
    serve_fake, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    monkeypatch.setenv(variable, "http://user:secret@127.0.0.1:9")
    server, _ = serve_fake()
    for url in (server.grpc_url, server.rest_url):
        with Client(url, retries=Retries(times=0)) as client:
            assert client.status("m", timeout_s=20)[0].state == "AVAILABLE"
    text = _refusal("grpc://host.invalid:8500")
    assert f"the proxy that the environment's {variable} names" in text
    assert "no_proxy" in text
    assert "secret" not in text
