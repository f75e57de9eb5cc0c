"""The client over TLS and mutual TLS, against the embedded server's own."""

from __future__ import annotations

import subprocess
from pathlib import Path

import numpy as np
import pytest

from tfseg.cli.main import run
from tfseg.errors import ServerError
from tfseg.io import write_volume
from tfseg.volume import Volume
from tfseg_serving.client import Client, Retries, Tls
from tfseg_serving.server import Server
from tfseg_serving.tls import tls_from_file


@pytest.fixture(params=[False, True], ids=["tls", "mtls"])
def secure(
    serve_fake, ssl_config, tmp_path: Path, request: pytest.FixtureRequest
) -> tuple[Server, bool]:
    """A server with a certificate; the second asks its clients for one."""
    tls = tls_from_file(ssl_config(tmp_path / "ssl.config", verify=request.param))
    return serve_fake(tls=tls)[0], request.param


def _ask(url: str, tls: Tls | None) -> str:
    with Client(url, tls=tls, retries=Retries(times=1, first_s=0.01)) as client:
        return client.status("m", timeout_s=20)[0].state


@pytest.mark.parametrize("scheme", ["grpcs", "https"])
def test_encrypted_calls(secure, certificates: Path, scheme: str) -> None:
    server, asks_clients = secure
    url = server.grpc_url if scheme == "grpcs" else server.rest_url
    assert url.startswith(f"{scheme}://")
    both = Tls(certificates / "ca.pem", certificates / "client.pem", certificates / "client.key")
    assert _ask(url, both) == "AVAILABLE"
    unknown = Tls(certificates / "ca.pem")
    if not asks_clients:
        assert _ask(url, unknown) == "AVAILABLE"
        return
    with pytest.raises(ServerError, match=r"no secure connection|no server answers"):
        _ask(url, unknown)


def test_tensors_pass_encrypted(secure, certificates: Path) -> None:
    x = np.float32([1, 2.5])
    both = Tls(certificates / "ca.pem", certificates / "client.pem", certificates / "client.key")
    with Client(secure[0].grpc_url, tls=both, compress=True) as client:
        answer = client.predict("m", {"x": x}, "serving_default", timeout_s=20)
    np.testing.assert_array_equal(answer["y"], 2 * x)


@pytest.mark.parametrize("scheme", ["grpc", "http"])
def test_a_server_that_nobody_vouches_for(secure, scheme: str) -> None:
    server, _ = secure
    url = server.grpc_url if scheme == "grpc" else server.rest_url
    with (
        Client(url, retries=Retries(times=0)) as client,
        pytest.raises(ServerError, match=r"no secure connection to .*--ca"),
    ):
        client.status("m", timeout_s=20)


BAD: dict[str, tuple[dict[str, str], str, str]] = {
    "no encryption": ({"--url": "grpc://127.0.0.1:1"}, "need grpcs:// or https://", "grpc://"),
    "absent": ({"--ca": "/no/such.pem"}, "--ca must be a readable PEM file", "/no/such.pem"),
    "no PEM": ({"--ca": "{client}.pdf"}, "must hold root certificates in PEM", "client.pdf"),
    "binary": ({"--ca": "{client}.der"}, "openssl x509 -inform der", "client.der"),
    "a key alone": ({"--key": "{client}.key"}, "go together", "got --key without --cert"),
    "a certificate alone": ({"--cert": "{client}.pem"}, "go together", "got --cert without --key"),
    "another's key": (
        {"--cert": "{client}.pem", "--key": "{server}.key"},
        "a PEM certificate and its own PEM key",
        "server.key",
    ),
    "encrypted": (
        {"--cert": "{client}.pem", "--key": "{secret}.key"},
        "--key must not be encrypted",
        "secret.key",
    ),
}


@pytest.mark.parametrize("scheme", ["grpcs", "https"])
@pytest.mark.parametrize("case", BAD)
def test_bad_input_of_certificates(
    certificates: Path, tmp_path: Path, capsys, case: str, scheme: str
) -> None:
    changes, rule, value = BAD[case]
    names = {name: str(certificates / name) for name in ("client", "server", "secret")}
    (certificates / "client.pdf").write_text("%PDF-1.4")
    (certificates / "client.der").write_bytes(b"\x30\x82\xff")
    if not (certificates / "secret.key").exists():
        subprocess.run(
            ["openssl", "pkey", "-in", "client.key", "-out", "secret.key", "-aes128",
             "-passout", "pass:x"],
            cwd=certificates,
            check=True,
        )  # fmt: skip
    scan = tmp_path / "scan.nii.gz"
    write_volume(Volume.from_geometry(np.zeros((2, 3, 4), np.int16)), scan)
    options = {
        "--url": f"{scheme}://127.0.0.1:1",
        "--ca": str(certificates / "ca.pem"),
        "--name": "m",
        "-o": str(tmp_path / "seg.nii.gz"),
        **{option: value.format(**names) for option, value in changes.items()},
    }
    arguments = [part for pair in options.items() for part in pair]
    assert run(["query", str(scan), *arguments]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert rule in line
    assert value in line
    assert [path.name for path in tmp_path.iterdir()] == [scan.name]
