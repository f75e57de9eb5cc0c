"""The examples, run as they stand there: each gives the label map that ``tfseg predict`` gives."""

from __future__ import annotations

import json
import os
import runpy
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import nibabel as nib
import numpy as np
import pytest

from tfseg.cli.main import run

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"

# Keras 3.15 converts variables with numpy 1's form of __array__.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
needs_curl = pytest.mark.skipif(
    shutil.which("curl") is None or shutil.which("bash") is None, reason="curl or bash is absent"
)

PLAN = {
    "version": 1,
    "dims": 3,
    "batch_size": 1,
    "spacing_mm": [2.0, 1.0, 1.0],
    "patch_size": [8, 16, 8],
    "labels": ["background", "organ", "lesion"],
    "channels": [{"name": "MR", "normalisation": {"kind": "zscore"}}],
}
# Axes along other directions than the canonical ones, and oblique by some degrees.
AFFINE = np.array([[0.1, 0, 3.0, 5], [0.9, -0.05, 0.2, -7], [0.05, -0.8, 0.1, 11], [0, 0, 0, 1.0]])


@dataclass
class Served:
    """A model, the servers that have it, a scan, and what ``tfseg predict`` makes of it."""

    exports: Path
    rest: str
    grpc: str
    scan: Path
    expected: np.ndarray


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    import keras

    from tfseg.artifact import Manifest
    from tfseg.models import build, inference_model
    from tfseg.plan import Plan
    from tfseg_export.export import export_run
    from tfseg_serving.config import models_from_folders
    from tfseg_serving.server import Server, ServerOptions

    root = tmp_path_factory.mktemp("examples")
    keras.utils.set_random_seed(5)
    options = {"base_filters": 2, "depth": 2}
    (root / "run").mkdir()
    inference_model(build("unet", (8, 16, 8, 1), 3, **options)).save(root / "run" / "model.keras")
    Manifest(format="run", model="unet", config=options, plan=Plan.parse(PLAN, "test")).save(
        root / "run", "manifest.json"
    )
    exports = root / "exports"
    for format, out in (("savedmodel", exports), ("triton", exports / "triton")):
        export_run(root / "run", format, out, name="liver")

    scan, predicted = root / "scan.nii.gz", root / "predicted.nii.gz"
    voxels = np.random.default_rng(1).normal(100, 40, (19, 11, 9)).astype(np.float32)
    nib.save(nib.Nifti1Image(voxels, AFFINE), scan)
    assert run(["predict", str(exports / "liver"), str(scan), "-o", str(predicted)]) == 0
    expected = np.asarray(nib.load(predicted).dataobj)
    assert len(np.unique(expected)) > 1

    models = models_from_folders([exports / "liver"])
    with Server(models, ServerOptions(rest_port=0, grpc_port=0)) as server:
        yield Served(exports, server.rest_url, server.grpc_url, scan, expected)


def _shell(script: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["bash", str(EXAMPLES / script), *map(str, arguments)],
        env={**os.environ, "PYTHON": sys.executable},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def _python(monkeypatch: pytest.MonkeyPatch, script: str, *arguments: object) -> None:
    """Run a script here: TensorFlow, which the official stubs import, is there already."""
    monkeypatch.syspath_prepend(str(EXAMPLES))
    monkeypatch.setattr(sys, "argv", [script, *map(str, arguments)])
    runpy.run_path(str(EXAMPLES / script), run_name="__main__")


def _check(served: Served, labels: Path) -> None:
    written = nib.load(labels)
    np.testing.assert_array_equal(np.asarray(written.dataobj), served.expected)
    np.testing.assert_allclose(written.affine, nib.load(served.scan).affine, atol=1e-6)
    assert written.get_data_dtype() == np.uint8


@needs_curl
def test_with_curl(served: Served, tmp_path: Path) -> None:
    out = tmp_path / "labels.nii.gz"
    done = _shell("query.sh", served.scan, out, served.rest, "liver")
    assert done.returncode == 0, done.stderr
    _check(served, out)


def test_with_the_official_stubs(
    served: Served,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    out = tmp_path / "labels.nii.gz"
    _python(monkeypatch, "query_grpc.py", served.scan, out, urlsplit(served.grpc).netloc, "liver")
    assert capsys.readouterr().out == f"{out}: labels of liver version 1\n"
    _check(served, out)


@pytest.mark.parametrize("transport", ["grpc", "rest"])
def test_with_the_client(
    transport: str,
    served: Served,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    out = tmp_path / "labels.nii.gz"
    _python(monkeypatch, "query_client.py", served.scan, out, getattr(served, transport), "liver")
    assert capsys.readouterr().out == f"{out}: labels of liver, by segment\n"
    _check(served, out)


@needs_curl
def test_bad_input_is_told_with_the_servers_words(served: Served, tmp_path: Path) -> None:
    out = tmp_path / "labels.nii.gz"
    done = _shell("query.sh", served.scan, out, served.rest, "nobody")
    assert done.returncode == 1
    (line,) = [text for text in done.stderr.splitlines() if text.startswith("query.sh: ")]
    assert "the server answered 404" in line
    assert "Latest(nobody)" in done.stderr
    assert not out.exists()


@pytest.mark.parametrize("script", ["query.sh", "query_kserve.sh"])
@needs_curl
def test_bad_input_without_arguments_tells_the_usage(script: str) -> None:
    done = _shell(script)
    assert done.returncode != 0
    assert f"usage: {script} " in done.stderr


@pytest.mark.parametrize("script", ["query_grpc.py", "query_client.py"])
def test_bad_input_without_arguments_names_them(
    script: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        _python(monkeypatch, script)
    assert ended.value.code == 2
    assert "required: scan, labels" in capsys.readouterr().err


# --- KServe's protocol: no Triton here; the exported graph is run by a few lines that speak it ----


class _KServe(BaseHTTPRequestHandler):
    """Metadata and inference of the model ``liver``, tensors as raw bytes."""

    network: Any
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: Any) -> None:
        """Say nothing."""

    def do_GET(self) -> None:
        tensor = {"datatype": "FP32"}
        self._answer(
            {
                "name": "liver",
                "versions": ["1"],
                "platform": "onnxruntime_onnx",
                "inputs": [{"name": "image", "shape": [-1, 8, 16, 8, 1], **tensor}],
                "outputs": [{"name": "probabilities", "shape": [-1, 8, 16, 8, 3], **tensor}],
            }
        )

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        end = int(self.headers["Inference-Header-Content-Length"])
        (image,) = json.loads(body[:end])["inputs"]
        assert (image["name"], image["datatype"]) == ("image", "FP32")
        assert image["parameters"]["binary_data_size"] == len(body) - end
        window = np.frombuffer(body[end:], "<f4").reshape(image["shape"])
        answer = self.network(window)
        output = {
            "name": "probabilities",
            "datatype": "FP32",
            "shape": list(answer.shape),
            "parameters": {"binary_data_size": answer.nbytes},
        }
        self._answer(
            {"model_name": "liver", "model_version": "1", "outputs": [output]}, answer.tobytes()
        )

    def _answer(self, document: Any, raw: bytes = b"") -> None:
        known = self.path.split("/")[3] == "liver"
        if not known:
            document, raw = {"error": f"unknown model: {self.path}"}, b""
        text = json.dumps(document).encode()
        self.send_response(200 if known else 404)
        if raw:
            self.send_header("Inference-Header-Content-Length", str(len(text)))
        self.send_header("Content-Length", str(len(text) + len(raw)))
        self.end_headers()
        self.wfile.write(text + raw)


@pytest.fixture(scope="module")
def kserve(served: Served) -> Iterator[str]:
    """The URL of a server that runs the exported repository's graph."""
    from tfseg.inference.backends.onnx import OnnxBackend

    network = OnnxBackend(served.exports / "triton" / "liver" / "1")
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("H", (_KServe,), {"network": network}))
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_with_the_client_over_kserves_protocol(
    served: Served,
    kserve: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    out = tmp_path / "labels.nii.gz"
    repository = served.exports / "triton" / "liver"
    _python(monkeypatch, "query_client.py", served.scan, out, kserve, "liver", repository)
    assert capsys.readouterr().out == f"{out}: labels of liver, by patches\n"
    # Another runtime computes here than in the SavedModel: ties may fall otherwise.
    labels = np.asarray(nib.load(out).dataobj)
    assert np.mean(labels == served.expected) > 0.999


@needs_curl
def test_with_curl_over_kserves_protocol(served: Served, kserve: str, tmp_path: Path) -> None:
    from tfseg.inference.backends.onnx import OnnxBackend

    window = np.random.default_rng(2).normal(size=(2, 8, 16, 8, 1)).astype("<f4")
    sent, got = tmp_path / "window.f32", tmp_path / "probabilities.f32"
    sent.write_bytes(window.tobytes())
    done = _shell("query_kserve.sh", sent, "2,8,16,8,1", got, kserve)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["outputs"][0]["shape"] == [2, 8, 16, 8, 3]
    expected = OnnxBackend(served.exports / "triton" / "liver" / "1")(window)
    assert got.read_bytes() == expected.tobytes()
    done = _shell("query_kserve.sh", sent, "2,8,16,8,1", tmp_path / "no", kserve, "nobody")
    assert done.returncode == 1
    assert "query_kserve.sh: the server answered 404" in done.stderr
    assert not (tmp_path / "no").exists()
