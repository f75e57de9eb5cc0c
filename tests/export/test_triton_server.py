"""An exported repository in the real Triton, where one is at hand.

The package nvidia-pytriton holds Triton's server with its Python backend only, so the graph is run
by ONNX Runtime from a few lines of Python there; reading the repository and ``config.pbtxt``,
warm-up, batching, versions and the protocol are Triton's own. It wants older packages than this
project, so an environment of its own:

    python -m venv ENV && ENV/bin/pip install nvidia-pytriton onnxruntime
    TFSEG_PYTRITON=ENV pytest tests/export/test_triton_server.py
"""

from __future__ import annotations

import os
import shutil
import socket
import stat
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from tfseg.cli.main import run
from tfseg.errors import ServerError
from tfseg_export import Artifact
from tfseg_serving.client import Client, Retries

PYTRITON = os.environ.get("TFSEG_PYTRITON", "")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not PYTRITON, reason="set TFSEG_PYTRITON to an environment with it"),
    # Keras 3.15 converts variables with numpy 1's form of __array__.
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),
]

MODEL = """
import os

import onnxruntime
import triton_python_backend_utils as backend


class TritonPythonModel:
    def initialize(self, arguments):
        folder = os.path.join(arguments["model_repository"], arguments["model_version"])
        self.session = onnxruntime.InferenceSession(os.path.join(folder, "model.onnx"))

    def execute(self, requests):
        return [backend.InferenceResponse([self.answer(request)]) for request in requests]

    def answer(self, request):
        image = backend.get_input_tensor_by_name(request, "image").as_numpy()
        return backend.Tensor("probabilities", self.session.run(None, {"image": image})[0])
"""


def _free_ports(count: int) -> list[int]:
    probes = [socket.socket() for _ in range(count)]
    for probe in probes:
        probe.bind(("127.0.0.1", 0))
    ports = [int(probe.getsockname()[1]) for probe in probes]
    for probe in probes:
        probe.close()
    return ports


@pytest.fixture(scope="module")
def repository(exported: Callable[..., Artifact], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The export, told to be run by Python; all else is as it was written."""
    root = tmp_path_factory.mktemp("triton") / "repository"
    shutil.copytree(exported("unet-3d", "triton").path.parents[1], root)
    config = root / "unet" / "config.pbtxt"
    text = config.read_text()
    for said, instead in (("onnxruntime", "python"), ("model.onnx", "model.py")):
        assert text.count(f'"{said}"') == 1
        text = text.replace(f'"{said}"', f'"{instead}"')
    config.write_text(text)
    (root / "unet" / "1" / "model.py").write_text(MODEL)
    return root


@pytest.fixture(scope="module")
def urls(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """Triton on the repository: the URL of each of its ports."""
    (packages,) = Path(PYTRITON).resolve().glob("lib/python*/site-packages")
    home = packages / "pytriton" / "tritonserver"
    backend = tmp_path_factory.mktemp("backends") / "python"
    shutil.copytree(home / "backends" / "python", backend)
    version = packages.parent.name.removeprefix("python")
    stub = backend / "triton_python_backend_stub"
    shutil.copy(home / "python_backend_stubs" / version / stub.name, stub)
    stub.chmod(stat.S_IRWXU)
    http, grpc, metrics = _free_ports(3)
    log = backend.parent / "log"
    with log.open("w") as output:
        server = subprocess.Popen(
            [
                str(home / "bin" / "tritonserver"),
                f"--model-repository={repository}",
                f"--backend-directory={backend.parent}",
                "--model-control-mode=poll",
                "--repository-poll-secs=1",
                f"--http-port={http}",
                f"--grpc-port={grpc}",
                f"--metrics-port={metrics}",
            ],
            env={
                **os.environ,
                "LD_LIBRARY_PATH": str(packages / "nvidia_pytriton.libs"),
                # The backend takes the packages of the first Python there.
                "PATH": f"{Path(PYTRITON).resolve() / 'bin'}{os.pathsep}{os.environ['PATH']}",
                # A repository that changes by itself would be loaded anew at each poll.
                "PYTHONDONTWRITEBYTECODE": "1",
            },
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        ready = f"http://127.0.0.1:{http}/v2/health/ready"
        _wait(lambda: server.poll() is not None or _status(ready) == 200)
        assert server.poll() is None, log.read_text()
        yield {"http": f"http://127.0.0.1:{http}", "grpc": f"grpc://127.0.0.1:{grpc}"}
    finally:
        server.terminate()
        try:
            server.wait(40)
        finally:
            server.kill()


def _status(url: str) -> int:
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code
    except OSError:
        return 0


def _wait(ready: Callable[[], bool]) -> None:
    end = time.monotonic() + 90
    while not ready():
        assert time.monotonic() < end, "not in time"
        time.sleep(0.2)


@pytest.mark.parametrize("transport", ["grpc", "http"])
def test_a_query_answers_as_predict(
    transport: str, urls: dict[str, str], repository: Path, tmp_path: Path
) -> None:
    scan = tmp_path / "scan.nii.gz"
    voxels = np.random.default_rng(1).normal(40, 90, (20, 15, 9)).astype(np.float32)
    nib.save(nib.Nifti1Image(voxels, np.diag([-0.8, 0.9, -3.0, 1.0])), scan)
    local, served = tmp_path / "local.nii.gz", tmp_path / "served.nii.gz"
    model = str(repository / "unet" / "1")
    assert run(["predict", model, str(scan), "-o", str(local)]) == 0
    options = ["--protocol", "kserve", "--name", "unet", "--manifest", model]
    query = ["query", str(scan), "-o", str(served), "--url", urls[transport]]
    assert run([*query, *options]) == 0
    expected = np.asarray(nib.load(local).dataobj)
    np.testing.assert_array_equal(np.asarray(nib.load(served).dataobj), expected)
    assert len(np.unique(expected)) > 1


def test_versions_are_swapped_without_a_wrong_answer(
    urls: dict[str, str], repository: Path
) -> None:
    window = np.random.default_rng(2).normal(size=(1, 8, 16, 8, 1)).astype(np.float32)
    base = repository / "unet"
    # What a failed parity leaves, and what an export under way leaves, is no version.
    shutil.copytree(base / "1", base / "failed-7")
    shutil.copytree(base / "1", base / ".tfseg-x.partial")
    with Client(urls["grpc"], protocol="kserve", retries=Retries(times=0)) as client:

        def ask() -> np.ndarray:
            return client.predict("unet", {"image": window}, "serving_default")["probabilities"]

        expected = ask().copy()
        os.rename(base / ".tfseg-x.partial", base / "2")
        answers = 0

        def served() -> list[int]:
            nonlocal answers
            np.testing.assert_array_equal(ask(), expected)
            answers += 1
            return [one.version for one in client.status("unet")]

        _wait(lambda: served() == [2])
        assert answers > 1
        with pytest.raises(ServerError, match="1"):
            client.predict("unet", {"image": window}, "serving_default", version=1)
