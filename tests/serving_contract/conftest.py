"""Servers for the contract tests: our own by default, any other by option; see README.md.

Tests see URLs only. Those that need a server of their own, with flags or with versions that come
and go, get it from ``launch``: our server inside this process, or the given binary as a process.
"""

from __future__ import annotations

import contextlib
import functools
import http.client
import importlib.util
import json
import os
import shlex
import socket
import ssl
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any
from urllib.parse import urlsplit

import grpc
import pytest

OPTIONS = {
    "--rest-url": "base URL of a server's REST port, such as http://127.0.0.1:8501",
    "--grpc-url": "its gRPC port, such as 127.0.0.1:8500",
    "--server-binary": "command that starts a server with tensorflow_model_server's flags",
}
LONG_S = 60.0


def pytest_addoption(parser: pytest.Parser) -> None:
    for name, text in OPTIONS.items():
        parser.addoption(name, help=text)


def _option(config: pytest.Config, name: str) -> str | None:
    variable = "TFSEG_CONTRACT" + name.removeprefix("-").replace("-", "_").upper()
    return config.getoption(name, None) or os.environ.get(variable)


@dataclass
class Answer:
    """One HTTP answer, as it came."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def text(self) -> str:
        return self.body.decode()

    @property
    def error(self) -> str:
        return str(json.loads(self.body)["error"])


@dataclass
class Target:
    """A server under test."""

    rest: str = ""
    grpc: str = ""
    tls: ssl.SSLContext | None = None
    stop: Callable[[], Any] = field(default=lambda: None)

    def send(
        self,
        method: str,
        path: str,
        body: bytes | str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """Send one HTTP request, byte for byte as given."""
        parts = urlsplit(self.rest)
        if self.tls:
            connection: http.client.HTTPConnection = http.client.HTTPSConnection(
                parts.hostname, parts.port, timeout=LONG_S, context=self.tls
            )
        else:
            connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=LONG_S)
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

    def get(self, path: str) -> Answer:
        return self.send("GET", path)

    def post(self, path: str, body: Any, **headers: str) -> Answer:
        """POST a JSON document, or text as it is."""
        text = body if isinstance(body, (bytes, str)) else json.dumps(body)
        return self.send("POST", path, text, headers)

    def predict(self, body: Any, model: str = "zoo") -> Answer:
        return self.post(f"/v1/models/{model}:predict", body)

    def raw(self, *pieces: bytes) -> bytes:
        """Send bytes on one connection and return everything that comes back."""
        parts = urlsplit(self.rest)
        with socket.create_connection((parts.hostname, parts.port), timeout=LONG_S) as connection:
            for piece in pieces:
                connection.sendall(piece)
            received = b""
            while block := connection.recv(65536):
                received += block
            return received

    @functools.cached_property
    def channel(self) -> grpc.Channel:
        limits = [("grpc.max_send_message_length", -1), ("grpc.max_receive_message_length", -1)]
        return grpc.insecure_channel(self.grpc, limits)

    @property
    def prediction(self) -> Any:
        from tensorflow_serving.apis.prediction_service_pb2_grpc import PredictionServiceStub

        return PredictionServiceStub(self.channel)

    @property
    def models(self) -> Any:
        from tensorflow_serving.apis.model_service_pb2_grpc import ModelServiceStub

        return ModelServiceStub(self.channel)

    def call(self, request: Any) -> Any:
        """Send a PredictRequest."""
        return self.prediction.Predict(request, timeout=LONG_S)

    def states(self, model: str) -> dict[int, str]:
        """Return version to state, over REST; empty for an unknown model."""
        answer = self.get(f"/v1/models/{model}")
        if answer.status == 404:
            return {}
        return {
            int(one["version"]): one["state"]
            for one in json.loads(answer.body)["model_version_status"]
        }

    def factor(self, model: str = "m", place: str = "") -> float | None:
        """Return the factor of the ``scale`` version that answers; ``None`` when none does."""
        answer = self.post(f"/v1/models/{model}{place}:predict", '{"instances": [1.0]}')
        return json.loads(answer.body)["predictions"][0] if answer.status == 200 else None


@pytest.fixture(scope="session")
def eventually() -> Callable[..., None]:
    """Wait until a condition holds."""

    def wait(condition: Callable[[], bool], limit_s: float = 30.0) -> None:
        deadline = time.monotonic() + limit_s
        while not condition():
            assert time.monotonic() < deadline, "it did not come to pass in time"
            time.sleep(0.02)

    return wait


@pytest.fixture(scope="session")
def make_models() -> ModuleType:
    """The script beside this file, as a module."""
    path = Path(__file__).with_name("make_models.py")
    spec = importlib.util.spec_from_file_location("serving_contract_models", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def models_root(tmp_path_factory: pytest.TempPathFactory, make_models: ModuleType) -> Path:
    """The folder that ``make_models.py`` writes."""
    root = tmp_path_factory.mktemp("contract")
    make_models.write_models(root)
    return root


def _launch_ours(flags: list[str]) -> Target:
    from tfseg_serving.cli_serve import serve
    from tfseg_serving.flags import Flags
    from tfseg_serving.server import Server

    context = serve.make_context("serve", ["--rest-port=0", "--grpc-port=0", *flags])
    chosen = Flags(**context.params)
    chosen.check()
    server = Server(chosen.models(Path("/nonexistent")), chosen.options())
    server.start()
    return Target(server.rest_url, urlsplit(server.grpc_url).netloc, stop=server.stop)


def _launch_binary(command: str, flags: list[str]) -> Target:
    ports = []
    for _ in range(2):
        with socket.create_server(("127.0.0.1", 0)) as free:
            ports.append(free.getsockname()[1])
    chosen = [f"--rest_api_port={ports[0]}", f"--port={ports[1]}", *flags]
    process = subprocess.Popen([*shlex.split(command), *chosen])

    def stop() -> None:
        process.kill()
        process.wait()

    deadline = time.monotonic() + 120
    while True:
        try:
            socket.create_connection(("127.0.0.1", ports[0]), timeout=1).close()
            break
        except OSError:
            if process.poll() is not None or time.monotonic() > deadline:
                stop()
                raise RuntimeError("the server did not start") from None
            time.sleep(0.1)
    return Target(f"http://127.0.0.1:{ports[0]}", f"127.0.0.1:{ports[1]}", stop=stop)


@pytest.fixture(scope="session")
def start(request: pytest.FixtureRequest) -> Callable[..., Target]:
    """Start a server with flags as ``tensorflow_model_server`` has them; the caller stops it."""
    binary = _option(request.config, "--server-binary")
    if binary:
        return lambda *flags: _launch_binary(binary, list(flags))
    if _option(request.config, "--rest-url"):
        pytest.skip("needs a server of its own: give --server-binary")
    return lambda *flags: _launch_ours(list(flags))


@pytest.fixture
def launch(start: Callable[..., Target]) -> Iterator[Callable[..., Target]]:
    """As ``start``; servers are stopped when the test ends."""
    with contextlib.ExitStack() as stack:

        def started(*flags: str) -> Target:
            target = start(*flags)
            stack.callback(target.stop)
            return target

        yield started


@pytest.fixture(scope="session")
def server(request: pytest.FixtureRequest) -> Iterator[Target]:
    """The server that most tests ask, with the models of ``make_models.py``."""
    rest, grpc_url = (_option(request.config, name) for name in ("--rest-url", "--grpc-url"))
    if rest or grpc_url:
        if not rest or not grpc_url:
            raise pytest.UsageError("give both --rest-url and --grpc-url")
        yield Target(rest, grpc_url.split("//")[-1])
        return
    root: Path = request.getfixturevalue("models_root")
    monitoring = root / "monitoring.config"
    monitoring.write_text("prometheus_config { enable: true }")
    target = request.getfixturevalue("start")(
        f"--model_config_file={root}/models.config",
        f"--monitoring_config_file={monitoring}",
        "--allow_version_labels_for_unavailable_models=true",
        "--enable_grpc_healthcheck_service=true",
    )
    try:
        yield target
    finally:
        target.stop()


@pytest.fixture(scope="session")
def request_for() -> Callable[..., Any]:
    """Build a PredictRequest for signature and inputs."""

    def build(signature: str = "", model: str = "zoo", version: int | None = None, **inputs: Any):
        import tensorflow as tf
        from tensorflow_serving.apis.predict_pb2 import PredictRequest

        request = PredictRequest()
        request.model_spec.name = model
        request.model_spec.signature_name = signature
        if version is not None:
            request.model_spec.version.value = version
        for key, value in inputs.items():
            request.inputs[key].CopyFrom(tf.make_tensor_proto(value))
        return request

    return build


@pytest.fixture(scope="session")
def refusal() -> Callable[..., tuple[str, str]]:
    """Make a call that must fail; return the name of its status code and the message."""

    def refused(call: Callable[..., Any], *arguments: Any) -> tuple[str, str]:
        with pytest.raises(grpc.RpcError) as caught:
            call(*arguments)
        return caught.value.code().name, caught.value.details()

    return refused


@pytest.fixture
def scale_base(tmp_path: Path, models_root: Path) -> Callable[..., Path]:
    """Make a base path ``m`` with some versions of ``scale``; more are put into it by ``put``."""

    def base(*versions: int) -> Path:
        (tmp_path / "m").mkdir()
        for version in versions:
            put(tmp_path / "m", models_root / "scale" / str(version))
        return tmp_path / "m"

    return base


def put(base: Path, source: Path, name: str = "") -> None:
    """Copy a version aside and rename it into place, as one must."""
    import shutil

    aside = base.parent / "aside"
    shutil.copytree(source, aside)
    aside.rename(base / (name or source.name))


@pytest.fixture(scope="session")
def put_version() -> Callable[..., None]:
    """See :func:`put`."""
    return put
