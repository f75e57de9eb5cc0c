"""Servers for the tests: one over real SavedModels, and one over a servable made of Python."""

from __future__ import annotations

import contextlib
import http.client
import subprocess
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pytest

from tfseg_serving.config import models_from_folders
from tfseg_serving.server import Server, ServerOptions
from tfseg_serving.versions import ModelConfig, Timing
from tfseg_serving.wire import Signature, TensorInfo

FAST = Timing(poll_s=0.05, retries=2, retry_s=0.05)


@dataclass
class Answer:
    """One HTTP answer, as it came."""

    status: int
    headers: Mapping[str, str]
    body: bytes


@pytest.fixture(scope="session")
def send() -> Callable[..., Answer]:
    """Send one HTTP request to a server and return what came back."""

    def send_request(
        url: str,
        method: str,
        path: str,
        body: bytes | str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        parts = urlsplit(url)
        connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=30)
        with contextlib.closing(connection):
            connection.putrequest(method, path, skip_accept_encoding=True)
            data = body.encode() if isinstance(body, str) else body
            if data is not None:
                connection.putheader("Content-Length", str(len(data)))
            for key, value in (headers or {}).items():
                connection.putheader(key, value)
            connection.endheaders(data)
            response = connection.getresponse()
            return Answer(response.status, response.headers, response.read())

    return send_request


def _write_models(root: Path) -> None:
    import tensorflow as tf

    class Zoo(tf.Module):
        def __init__(self) -> None:
            self.weights = tf.Variable([[2.0], [3.0]])

        @tf.function(input_signature=[tf.TensorSpec([None, 2], tf.float32, "x")])
        def affine(self, x: Any) -> dict[str, Any]:
            return {"y": tf.matmul(x, self.weights)}

        @tf.function(input_signature=[tf.TensorSpec([None], tf.float32, "x")])
        def half(self, x: Any) -> dict[str, Any]:
            return {"y": x * 0.5 + 2.0}

        @tf.function(
            input_signature=[
                tf.TensorSpec([None], tf.float32, "b"),
                tf.TensorSpec([None], tf.int64, "a"),
            ]
        )
        def two(self, b: Any, a: Any) -> dict[str, Any]:
            return {"total": b + tf.cast(a, tf.float32), "first": a}

        @tf.function(input_signature=[tf.TensorSpec([None], tf.string, "s")])
        def text(self, s: Any) -> dict[str, Any]:
            return {"upper": tf.strings.upper(s), "copy_bytes": s}

        @tf.function(input_signature=[tf.TensorSpec([None], tf.bool, "flag")])
        def flip(self, flag: Any) -> dict[str, Any]:
            return {"flag": tf.logical_not(flag)}

        @tf.function(input_signature=[tf.TensorSpec([None], tf.uint8, "i")])
        def small(self, i: Any) -> dict[str, Any]:
            return {"i": i}

        @tf.function(input_signature=[tf.TensorSpec([None], tf.float16, "h")])
        def sixteen(self, h: Any) -> dict[str, Any]:
            return {"h": h + 1}

        @tf.function(input_signature=[tf.TensorSpec([None], tf.float32, "x")])
        def ragged(self, x: Any) -> dict[str, Any]:
            return {"a": x, "b": x[:-1], "scalar": tf.reduce_sum(x)}

        @tf.function(
            input_signature=[
                tf.TensorSpec([None, None, None, 1], tf.float32, "volume"),
                tf.TensorSpec([3], tf.float32, "spacing_mm"),
            ]
        )
        def segment(self, volume: Any, spacing_mm: Any) -> dict[str, Any]:
            # Label 1 above 100, label 2 above 200; the spacing must be there and be positive.
            level = tf.cast(volume[..., 0] > 100, tf.uint8) + tf.cast(
                volume[..., 0] > 200, tf.uint8
            )
            return {"labels": level * tf.cast(tf.reduce_all(spacing_mm > 0), tf.uint8)}

    zoo = Zoo()
    names = ("half", "two", "text", "flip", "small", "sixteen", "ragged", "segment")
    signatures = {name: getattr(zoo, name) for name in names}
    tf.saved_model.save(zoo, str(root / "zoo" / "1"), {"serving_default": zoo.affine, **signatures})

    class Scale(tf.Module):
        """y = factor * x; the factor tells versions apart."""

        def __init__(self, factor: float) -> None:
            self.factor = tf.Variable(factor)

        @tf.function(input_signature=[tf.TensorSpec([None], tf.float32, "x")])
        def __call__(self, x: Any) -> dict[str, Any]:
            return {"y": self.factor * x}

    for version in (1, 2):
        scale = Scale(10.0 * version)
        tf.saved_model.save(scale, str(root / "scale" / str(version)), scale.__call__)


@pytest.fixture(scope="session")
def models_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with real SavedModels: ``zoo/1``, ``scale/1``, ``scale/2``."""
    root = tmp_path_factory.mktemp("models")
    _write_models(root)
    return root


@pytest.fixture(scope="session")
def zoo(models_root: Path) -> Iterator[Server]:
    """A server of all of :func:`models_root` on free ports."""
    options = ServerOptions(rest_port=0, grpc_port=0, timing=FAST)
    with Server(models_from_folders([models_root]), options) as server:
        yield server


class FakeServable:
    """Doubles ``x``; waits at a gate first when it has one."""

    def __init__(self, gate: threading.Event | None = None) -> None:
        info = TensorInfo(1, (-1,), "x:0")
        self.signatures = {"serving_default": Signature({"x": info}, {"y": info}, "predict")}
        self.signature_defs: dict[str, bytes] = {}
        self.signature_json: dict[str, Any] = {}
        self.gate = gate
        self.entered = threading.Semaphore(0)
        self.closed = False

    def predict(
        self,
        signature_name: str,
        inputs: Mapping[str, Any],
        output_filter: Sequence[str] = (),
        timeout_s: float | None = None,
    ) -> dict[str, Any]:
        self.entered.release()
        if self.gate is not None:
            assert self.gate.wait(30)
        assert not self.closed
        return {"y": np.asarray(inputs["x"]) * 2}

    def close(self) -> None:
        self.closed = True


@pytest.fixture
def serve_fake(tmp_path: Path) -> Iterator[Callable[..., tuple[Server, FakeServable]]]:
    """Start a server of one model ``m`` that is a :class:`FakeServable`."""
    (tmp_path / "m" / "1").mkdir(parents=True)
    servers: list[tuple[Server, FakeServable]] = []

    def start(gate: threading.Event | None = None, **options: Any) -> tuple[Server, FakeServable]:
        servable = FakeServable(gate)
        chosen = ServerOptions(**{"rest_port": 0, "grpc_port": 0, "timing": FAST, **options})
        server = Server([ModelConfig("m", tmp_path / "m")], chosen, lambda _: servable)
        server.start()
        servers.append((server, servable))
        return server, servable

    yield start
    for server, servable in servers:
        if servable.gate is not None:
            servable.gate.set()
        server.stop()


# --- certificates


def _openssl(folder: Path, *arguments: str) -> None:
    subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True)


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A root, and a server's and a client's certificate of it."""
    folder = tmp_path_factory.mktemp("tls")
    curve = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
    _openssl(
        folder, "req", "-x509", *curve, "-keyout", "ca.key", "-out", "ca.pem", "-days", "2",
        "-subj", "/CN=test root",
    )  # fmt: skip
    (folder / "names").write_text("subjectAltName=DNS:localhost,IP:127.0.0.1\n")
    for name in ("server", "client"):
        _openssl(
            folder, "req", "-new", *curve, "-keyout", f"{name}.key", "-out", f"{name}.csr",
            "-subj", f"/CN={name}",
        )  # fmt: skip
        _openssl(
            folder, "x509", "-req", "-in", f"{name}.csr", "-CA", "ca.pem", "-CAkey", "ca.key",
            "-CAcreateserial", "-days", "2", "-extfile", "names", "-out", f"{name}.pem",
        )  # fmt: skip
    return folder


@pytest.fixture
def ssl_config(certificates: Path) -> Callable[..., Path]:
    """Write TF-Serving's ``SSLConfig`` with those certificates; return its path."""

    def write(path: Path, *, verify: bool) -> Path:
        texts = {
            "server_key": "server.key",
            "server_cert": "server.pem",
            "custom_ca": "ca.pem",
        }
        lines = [f"{name}: {(certificates / file).read_text()!r}" for name, file in texts.items()]
        path.write_text("\n".join([*lines, f"client_verify: {str(verify).lower()}"]))
        return path

    return write
