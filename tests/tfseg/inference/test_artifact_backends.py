"""What opens exported artifacts: checked against the manifest, without what is not needed."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from tfseg.artifact import Manifest, digest_files
from tfseg.cli.main import run
from tfseg.errors import ConfigError, DataError
from tfseg.inference.backends import open_backend, tensorrt
from tfseg.inference.backends.tensorrt import TensorRtBackend, load_library
from tfseg.io import write_volume
from tfseg.plan import Plan
from tfseg.volume import Volume

PLAN = Plan(
    dims=2,
    spacing_mm=None,
    patch_size=(4, 6),
    batch_size=1,
    channels=[{"name": "grey", "normalisation": {"kind": "scale"}}],
    labels=["background", "object"],
)


def write_manifest(folder: Path, kind: str, *, passed: bool | None = True) -> None:
    parity = None if passed is None else {"passed": passed}
    Manifest(format=kind, model="unet", plan=PLAN, files=digest_files(folder), parity=parity).save(
        folder
    )


@pytest.fixture
def onnx_artifact(tmp_path: Path) -> Path:
    """A graph whose answer is known: probabilities (1 - x, x)."""
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, ["n", 4, 6, 1])
    answer = helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["n", 4, 6, 2])
    one = helper.make_tensor("one", TensorProto.FLOAT, [1], [1.0])
    nodes = [
        helper.make_node("Sub", ["one", "image"], ["rest"]),
        helper.make_node("Concat", ["rest", "image"], ["probabilities"], axis=3),
    ]
    graph = helper.make_graph(nodes, "test", [image], [answer], [one])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    folder = tmp_path / "model-onnx"
    folder.mkdir()
    onnx.save(model, folder / "model.onnx")
    write_manifest(folder, "onnx")
    return folder


def test_onnx_answers(onnx_artifact: Path) -> None:
    backend, manifest = open_backend(onnx_artifact)
    assert manifest.plan == PLAN
    batch = np.random.default_rng(0).random((3, 4, 6, 1), np.float32)
    np.testing.assert_allclose(backend(batch), np.concatenate([1 - batch, batch], -1), atol=1e-7)


def test_onnx_imports_no_tensorflow(onnx_artifact: Path) -> None:
    code = f"""
        import sys
        from tfseg.inference.predictor import Predictor
        from tfseg.volume import Volume
        import numpy as np
        predictor = Predictor.open({str(onnx_artifact)!r})
        scan = Volume.from_geometry(np.ones((2, 9, 7), np.float32))
        labels = predictor.predict(scan).labels
        assert labels.array.all() and labels.array.shape == (2, 9, 7)
        assert not {{"tensorflow", "keras"}} & set(sys.modules)
    """
    result = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize("passed", [False, None])
def test_an_artifact_without_passed_parity_is_refused(
    onnx_artifact: Path, passed: bool | None
) -> None:
    write_manifest(onnx_artifact, "onnx", passed=passed)
    with pytest.raises(DataError, match=r"must not be used.*parity\.passed"):
        open_backend(onnx_artifact)


def test_a_changed_file_is_refused(onnx_artifact: Path) -> None:
    path = onnx_artifact / "model.onnx"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(bytes(content))
    with pytest.raises(DataError, match=r"model\.onnx is damaged.*SHA-256"):
        open_backend(onnx_artifact)


def test_a_file_that_the_manifest_does_not_name_is_refused(onnx_artifact: Path) -> None:
    manifest = Manifest.load(onnx_artifact)
    manifest.model_copy(update={"files": {}}).save(onnx_artifact)
    with pytest.raises(DataError, match=r"nothing vouches for .*model\.onnx"):
        open_backend(onnx_artifact)


def test_a_changed_manifest_is_refused(onnx_artifact: Path) -> None:
    path = onnx_artifact / "tfseg.json"
    path.write_text(path.read_text().replace('"object"', '"subject"', 1))
    with pytest.raises(DataError, match=r"tfseg\.json was changed after it was written"):
        open_backend(onnx_artifact)


def test_another_format_is_refused(onnx_artifact: Path) -> None:
    write_manifest(onnx_artifact, "savedmodel")
    with pytest.raises(DataError, match="format onnx; its manifest says 'savedmodel'"):
        open_backend(onnx_artifact)


def test_no_manifest_is_refused(onnx_artifact: Path) -> None:
    (onnx_artifact / "tfseg.json").unlink()
    with pytest.raises(DataError, match="manifest is missing"):
        open_backend(onnx_artifact)


@pytest.mark.parametrize(
    ("file", "kind"), [("model.onnx", "onnx"), ("saved_model.pb", "savedmodel")]
)
def test_a_file_that_is_no_model_is_refused(tmp_path: Path, file: str, kind: str) -> None:
    """The manifest agrees with the file: it was no model from the start."""
    (tmp_path / file).write_bytes(b"no model")
    write_manifest(tmp_path, kind)
    if kind == "savedmodel":
        (tmp_path / "assets.extra").mkdir()
        (tmp_path / "tfseg.json").rename(tmp_path / "assets.extra" / "tfseg.json")
    with pytest.raises(DataError, match="cannot be loaded"):
        open_backend(tmp_path)


# --- TensorRT -------------------------------------------------------------------------------------

SIDECAR = {
    "library": "tensorrt_rtx",
    "version": "1.2",
    "compute_capabilities": ["sm89"],
    "profile": {"min": [1, 4, 6, 1], "opt": [1, 4, 6, 1], "max": [2, 4, 6, 1]},
}


@pytest.fixture
def engine_artifact(tmp_path: Path) -> Path:
    (tmp_path / "model.engine").write_bytes(b"engine")
    (tmp_path / "model.onnx").write_bytes(b"graph")
    (tmp_path / "model.engine.json").write_text(json.dumps(SIDECAR))
    write_manifest(tmp_path, "tensorrt")
    return tmp_path


def test_an_engine_without_a_gpu_is_one_clear_line(
    engine_artifact: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(name: str) -> Any:
        raise OSError(f"{name}: cannot open shared object file")

    monkeypatch.setattr(tensorrt, "ctypes", SimpleNamespace(CDLL=missing))
    with pytest.raises(ConfigError, match=r"needs an NVIDIA GPU.*libcuda\.so\.1.*ONNX"):
        open_backend(engine_artifact)


def test_a_missing_library_names_the_extra() -> None:
    with pytest.raises(ConfigError, match=r"pip install 'tfseg\[tensorrt\]'"):
        load_library(("no_such_tensorrt",))


class _StandInCuda:
    """Device memory kept on the host: stands in for the driver, which no test machine has."""

    stream = 0

    def __init__(self) -> None:
        self.memory: dict[int, bytearray] = {}

    def buffer(self, size_bytes: int) -> Any:
        return tensorrt._Buffer(self, size_bytes)  # type: ignore[arg-type]

    def allocate(self, size_bytes: int) -> int:
        address = max(self.memory, default=0) + 256
        self.memory[address] = bytearray(size_bytes)
        return address

    def free(self, address: int) -> None:
        del self.memory[address]

    def to_device(self, address: int, array: Any) -> None:
        self.memory[address][:] = array.tobytes()

    def to_host(self, array: Any, address: int) -> None:
        array[...] = np.frombuffer(self.memory[address], array.dtype).reshape(array.shape)

    def synchronise(self) -> None:
        pass


class _StandInContext:
    """Answers (1 - x, x) for windows (4, 6, 1), two at a time at most."""

    def __init__(self, cuda: _StandInCuda) -> None:
        self.cuda = cuda
        self.addresses: dict[str, int] = {}
        self.calls: list[tuple[int, ...]] = []

    def set_input_shape(self, name: str, shape: tuple[int, ...]) -> bool:
        self.shape = tuple(shape)
        return self.shape[0] <= 2 and self.shape[1:] == (4, 6, 1)

    def get_tensor_shape(self, name: str) -> tuple[int, ...]:
        return (*self.shape[:-1], 2)

    def set_tensor_address(self, name: str, address: int) -> None:
        self.addresses[name] = address

    def execute_async_v3(self, stream: int) -> bool:
        self.calls.append(self.shape)
        memory = self.cuda.memory
        image = np.frombuffer(memory[self.addresses["image"]], np.float32).reshape(self.shape)
        answer = np.concatenate([1 - image, image], -1)
        memory[self.addresses["probabilities"]][:] = answer.tobytes()
        return True


def test_the_engine_runner_splits_batches_and_frees_memory(
    engine_artifact: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cuda = _StandInCuda()
    context = _StandInContext(cuda)
    engine = SimpleNamespace(create_execution_context=lambda: context)
    library = ModuleType("tensorrt_rtx")
    library.Logger = type("Logger", (), {"ERROR": 1, "__init__": lambda self, level: None})  # type: ignore[attr-defined]
    library.Runtime = lambda logger: SimpleNamespace(  # type: ignore[attr-defined]
        deserialize_cuda_engine=lambda content: engine if content == b"engine" else None
    )
    monkeypatch.setattr(tensorrt, "_Cuda", lambda: cuda)
    monkeypatch.setitem(sys.modules, "tensorrt_rtx", library)

    backend, _ = open_backend(engine_artifact)
    assert isinstance(backend, TensorRtBackend)
    batch = np.random.default_rng(0).random((5, 4, 6, 1), np.float32)
    np.testing.assert_array_equal(backend(batch), np.concatenate([1 - batch, batch], -1))
    assert [shape[0] for shape in context.calls] == [2, 2, 1]
    assert not cuda.memory
    with pytest.raises(DataError, match=r"does not take windows of shape \(4, 5, 1\)"):
        backend(np.zeros((1, 4, 5, 1), np.float32))
    assert not cuda.memory


# --- through the command line ---------------------------------------------------------------------


def _failed(folder: Path) -> None:
    write_manifest(folder, "onnx", passed=False)


def _tampered(folder: Path) -> None:
    with (folder / "model.onnx").open("ab") as handle:
        handle.write(b"more")


def _incomplete(folder: Path) -> None:
    (folder / "model.onnx").unlink()
    (folder / "saved_model.pb").write_bytes(b"")


def _engine(folder: Path) -> None:
    (folder / "model.engine").write_bytes(b"engine")
    (folder / "model.engine.json").write_text(json.dumps(SIDECAR))
    write_manifest(folder, "tensorrt")


@pytest.mark.parametrize(
    ("spoil", "pattern"),
    [
        (_failed, r"must not be used.*parity\.passed is not true"),
        (_tampered, r"model\.onnx is damaged: its SHA-256"),
        (_incomplete, r"manifest is missing"),
        (_engine, r"needs an NVIDIA GPU"),
    ],
)
def test_bad_input_predict_with_an_artifact_that_must_not_answer(
    onnx_artifact: Path,
    tmp_path: Path,
    spoil: Callable[[Path], None],
    pattern: str,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def no_driver(name: str) -> Any:
        raise OSError(f"{name}: cannot open shared object file")

    # The module's own name for it: other packages load libraries of theirs by then.
    monkeypatch.setattr(tensorrt, "ctypes", SimpleNamespace(CDLL=no_driver))
    spoil(onnx_artifact)
    scan = tmp_path / "scan.nii.gz"
    write_volume(Volume.from_geometry(np.zeros((2, 5, 7), np.float32)), scan)
    out = tmp_path / "labels.nii.gz"
    assert run(["predict", str(onnx_artifact), str(scan), "-o", str(out)]) == 2
    captured = capfd.readouterr()
    assert captured.out == ""
    # TensorFlow's native code logs past the command line when it is imported.
    lines = [line for line in captured.err.splitlines() if not re.match(r"[IWE]\d{4} ", line)]
    assert len(lines) == 1, captured.err
    assert re.search(pattern, lines[0]), lines[0]
    assert not out.exists()
