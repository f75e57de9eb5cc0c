"""The commands ``serve`` and ``query``, from the outside."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import pytest

from tfseg.cli.main import run
from tfseg.errors import ServerError
from tfseg_serving.client import connect


@pytest.mark.parametrize("command", ["serve", "query"])
def test_help_imports_no_tensorflow(command: str) -> None:
    code = (
        "import sys\nfrom tfseg.cli.main import run\n"
        f"assert run([{command!r}, '--help']) == 0\nassert 'tensorflow' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.DEVNULL)


# --- the process


class Process:
    """`tfseg serve` as a process of its own."""

    def __init__(self, *arguments: str, before: str = "") -> None:
        code = f"{before}\nfrom tfseg.cli.main import main; main()"
        self.process = subprocess.Popen(
            [sys.executable, "-c", code, "serve", *arguments, "--json"],
            cwd=Path(__file__).parents[2],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout is not None
        lines = []
        while not lines or lines[-1] != "}\n":
            lines.append(self.process.stdout.readline())
            assert lines[-1], self.process.communicate()
        self.ready = json.loads("".join(lines))

    def wait(self) -> int:
        try:
            return self.process.wait(40)
        finally:
            self.process.kill()
            self.process.communicate()


@pytest.fixture
def serve_process() -> Iterator[Callable[..., Process]]:
    processes: list[Process] = []

    def start(*arguments: str, before: str = "") -> Process:
        processes.append(Process(*arguments, before=before))
        return processes[-1]

    yield start
    for one in processes:
        one.process.kill()
        one.process.communicate()


def test_kill_9_in_the_middle_of_a_request_then_restart_then_sigterm(
    models_root: Path, serve_process
) -> None:
    first = serve_process(str(models_root / "zoo"), "--rest-port", "0", "--grpc-port", "0")
    rest, grpc_url = first.ready["rest"], first.ready["grpc"]
    assert first.ready["models"] == {"zoo": [1]}
    ports = [str(urlsplit(url).port) for url in (rest, grpc_url)]

    errors: list[BaseException] = []

    def ask() -> None:
        volume = np.zeros((100, 512, 512, 1), np.float32)
        inputs = {"volume": volume, "spacing_mm": np.ones(3, np.float32)}
        with connect(grpc_url) as client:
            try:
                client.predict("zoo", inputs)
            except ServerError as error:
                errors.append(error)

    half_sent = socket.create_connection(("127.0.0.1", int(ports[0])), timeout=30)
    half_sent.sendall(b"POST /v1/models/zoo:predict HTTP/1.1\r\nContent-Length: 999\r\n\r\n{")
    asking = threading.Thread(target=ask)
    asking.start()
    os.kill(first.process.pid, signal.SIGKILL)
    asking.join(60)
    assert not asking.is_alive()
    assert first.wait() == -signal.SIGKILL
    half_sent.close()
    assert [type(error) for error in errors] == [ServerError]
    assert "no server answers" in str(errors[0])

    again = serve_process(
        str(models_root / "zoo" / "1"), "--rest-port", ports[0], "--grpc-port", ports[1]
    )
    assert again.ready == first.ready
    for url in (rest, grpc_url):
        with connect(url) as client:
            answer = client.predict("zoo", {"x": np.float32([2])}, "half")
            assert answer["y"].tolist() == [3]
    again.process.send_signal(signal.SIGTERM)
    assert again.wait() == 0


_STUCK = """
import os, signal, threading
from functools import partialmethod
from tests.serving.conftest import FakeServable
from tfseg_serving.server import Server

class Stuck(FakeServable):
    def predict(self, *given, **more):
        os.kill(os.getpid(), signal.SIGTERM)
        threading.Event().wait()

Server._load_with_tensorflow = lambda server, folder: Stuck()
Server.stop = partialmethod(Server.stop, grace_s=0.5)
"""


def test_a_request_that_never_ends_does_not_keep_the_process_alive(
    tmp_path: Path, serve_process
) -> None:
    model = str(_model(tmp_path))
    server = serve_process(model, "--rest-port", "0", "--grpc-port", "0", before=_STUCK)
    with connect(server.ready["grpc"]) as client, pytest.raises(ServerError):
        client.predict("m", {"x": np.float32([2])}, "serving_default")
    _, said = server.process.communicate(timeout=30)
    assert server.process.returncode == 1
    assert said.splitlines()[-1] == "tfseg: some requests took longer than 30 s and were cut off."


# --- bad input


@pytest.mark.parametrize("package", ["uvicorn", "httptools", "tensorflow_serving"])
def test_a_missing_extra_is_named(
    tmp_path: Path, capsys, monkeypatch: pytest.MonkeyPatch, package: str
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    remedy = "Install it with: pip install 'tfseg[serving]'"
    _check(capsys, ["serve", str(_model(tmp_path))], remedy, package)


def _check(capsys, arguments: list[str], rule: str, value: str) -> None:
    assert run(arguments) == 2
    captured = capsys.readouterr()
    lines = captured.err.splitlines()
    assert len(lines) == 1, lines
    assert lines[0].startswith("tfseg: ")
    assert rule in lines[0]
    assert value in lines[0]
    assert captured.out == ""


def _model(root: Path, name: str = "m", version: str = "1") -> Path:
    folder = root / name / version
    folder.mkdir(parents=True)
    (folder / "saved_model.pb").write_bytes(b"")
    return root / name


def _serve_cases(root: Path) -> dict[str, tuple[list[str], str, str]]:
    model = str(_model(root))
    twin = str(_model(root / "other"))
    (root / "empty").mkdir()
    (root / "file").touch()
    (root / "unnumbered").mkdir()
    (root / "unnumbered" / "saved_model.pb").touch()
    absent = str(root / "absent")
    return {
        "nothing": ([], "give either MODEL_DIR or --config", "neither"),
        "both": (
            [model, "--config", "x"],
            "give either MODEL_DIR or --config",
            "MODEL_DIR and --config",
        ),
        "absent": ([absent], "MODEL_DIR must be a folder", absent),
        "a file": ([str(root / "file")], "MODEL_DIR must be a folder", "file"),
        "no versions": ([str(root / "empty")], "needs <version>/saved_model.pb", "empty"),
        "no integer": (
            [str(root / "unnumbered")],
            "named by its version, an integer",
            "unnumbered",
        ),
        "two of one name": ([model, twin], "model names must differ; 'm'", twin),
        "same ports": (
            [model, "--rest-port", "8123", "--grpc-port", "8123"],
            "must differ",
            "8123",
        ),
        "port out of range": ([model, "--rest-port", "70000"], "0<=x<=65535", "70000"),
        "host unknown": (
            [model, "--host", "203.0.113.7", "--grpc-port", "8124"],
            "--grpc-port must be a free port",
            "203.0.113.7",
        ),
    }


SERVE_CASES = (
    "nothing", "both", "absent", "a file", "no versions", "no integer", "two of one name",
    "same ports", "port out of range", "host unknown",
)  # fmt: skip


@pytest.mark.parametrize("case", SERVE_CASES)
def test_bad_input_of_serve(tmp_path: Path, capsys, case: str) -> None:
    arguments, rule, value = _serve_cases(tmp_path)[case]
    _check(capsys, ["serve", *arguments], rule, value)


@pytest.mark.parametrize("option", ["--rest-port", "--grpc-port"])
def test_bad_input_port_in_use(tmp_path: Path, capsys, option: str) -> None:
    other = "--grpc-port" if option == "--rest-port" else "--rest-port"
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        arguments = ["serve", str(_model(tmp_path)), option, port, other, "0"]
        _check(capsys, arguments, f"{option} must be a free port", port)


def test_bad_input_corrupt_model(tmp_path: Path, capsys) -> None:
    model = _model(tmp_path)
    (model / "1" / "saved_model.pb").write_bytes(b"\xff" * 10)
    arguments = ["serve", str(model), "--rest-port", "0", "--grpc-port", "0"]
    _check(capsys, arguments, "model 'm' version 1 cannot be loaded", str(model))


CONFIGS = {
    "no text proto": ("model_config_list {", "Error parsing text-format", "models.config"),
    "unknown field": ("nonsense: 1", "Error parsing text-format", "nonsense"),
    "empty": ("", "at least one config", "models.config"),
    "no platform": (
        "model_config_list { config { name: 'm' base_path: '/x' } }",
        "Illegal setting neither ModelServerConfig::model_type",
        "model name is m",
    ),
    "other platform": (
        "model_config_list { config { name: 'm' base_path: '/x' model_platform: 'onnx' } }",
        "requests unsupported platform",
        "onnx",
    ),
    "relative": (
        "model_config_list { config { name: 'm' base_path: 'x/y' model_platform: 'tensorflow' } }",
        "to have an absolute path",
        "base_path()=x/y",
    ),
    "no name": (
        "model_config_list { config { base_path: '/x' model_platform: 'tensorflow' } }",
        "every config needs a name",
        "models.config",
    ),
    "one name twice": (
        "model_config_list { config { name: 'm' base_path: '/x' model_platform: 'tensorflow' } "
        "config { name: 'm' base_path: '/y' model_platform: 'tensorflow' } }",
        "multiple times in config list",
        "list model m",
    ),
    "logging": (
        "model_config_list { config { name: 'm' base_path: '/x' model_platform: 'tensorflow' "
        "logging_config {} } }",
        "logging_config is not supported",
        "model m",
    ),
    "nothing there": (
        "model_config_list { config { name: 'm' base_path: '/no/such/base' "
        "model_platform: 'tensorflow' } }",
        "has no version to serve",
        "/no/such/base",
    ),
}


@pytest.mark.parametrize("case", CONFIGS)
def test_bad_input_models_config(tmp_path: Path, capsys, case: str) -> None:
    text, rule, value = CONFIGS[case]
    config = tmp_path / "models.config"
    config.write_text(text)
    arguments = ["serve", "--config", str(config), "--rest-port", "0", "--grpc-port", "0"]
    _check(capsys, arguments, rule, value)


def test_bad_input_models_config_is_absent(tmp_path: Path, capsys) -> None:
    path = str(tmp_path / "none.config")
    _check(capsys, ["serve", "--config", path], "--config must be a readable text file", path)
