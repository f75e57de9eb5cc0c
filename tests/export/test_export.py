"""Every network in every format, and what an artifact must be to whoever finds it."""

from __future__ import annotations

import itertools
import json
import os
import shutil
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from tfseg.artifact import Manifest, verify_files
from tfseg.errors import DataError, ParityError
from tfseg.inference.backends import open_backend
from tfseg.inference.predictor import Predictor
from tfseg.volume import Volume
from tfseg_export import Artifact, export_run
from tfseg_export.export import _target
from tfseg_export.formats import FORMATS, settings

# Keras 3.15 converts variables with numpy 1's form of __array__.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

RUNS = ["unet-2d", "unet-3d", "pspnet-2d", "pspnet-3d"]
WITH_BATCH_NORM = ["unet-2d-batch", "pspnet-3d-batch"]

# format -> the package that the manifest must name with its version.
PACKAGES = {
    "savedmodel": "tensorflow",
    "onnx": "tf2onnx",
    "tensorrt": "tensorrt_rtx",
    "tflite": "ai-edge-litert",
    "openvino": "openvino",
}
MODEL_FILES = (".pb", ".onnx", ".engine", ".tflite", ".xml", ".bin")

Export = Callable[..., Artifact]


def _volume(run: str) -> Volume:
    rng = np.random.default_rng(3)
    if run.endswith("2d"):
        return Volume.from_geometry(rng.uniform(0, 255, (2, 21, 30, 3)).astype(np.float32))
    field = rng.normal(40, 90, (9, 20, 13)).astype(np.float32)
    return Volume.from_geometry(field, spacing_mm=(2.5, 1.1, 0.9))


@pytest.mark.parametrize(
    ("run", "format"),
    [
        # What wraps an artifact of another format has its network from there.
        *itertools.product(RUNS, [f.name for f in FORMATS.values() if not f.opened_as]),
        *itertools.product(WITH_BATCH_NORM, ("tflite", "openvino")),
    ],
)
def test_every_network_in_every_format(run: str, format: str, exported: Export) -> None:
    artifact = exported(run, format)
    parity = artifact.parity
    assert parity["passed"]
    assert parity["max_abs"] <= 1e-4
    assert parity["label_agreement_decided"] == 1
    assert [record["shape"][0] for record in parity["windows"]] == [1, 2, 2, 1]
    assert ("segment" in parity) == (format == "savedmodel")

    notes = artifact.path / ("assets.extra" if format == "savedmodel" else ".")
    manifest = Manifest.load(notes)
    assert manifest.format == format
    assert manifest.parity == parity == json.loads((notes / "parity.json").read_text())
    assert {"tfseg", PACKAGES[format]} <= set(manifest.versions)
    on_disk = {p.relative_to(artifact.path).as_posix() for p in artifact.path.rglob("*.*")}
    written = {name for name in on_disk if name.endswith(MODEL_FILES)}
    assert written
    assert set(manifest.files) >= written
    verify_files(artifact.path, manifest)
    assert not list(artifact.path.parent.glob(".tfseg-*")), "a temporary folder was left"


@pytest.mark.parametrize("format", ["savedmodel", "onnx", "tflite", "openvino"])
@pytest.mark.parametrize("run", RUNS)
def test_predictions_equal_the_run_s(
    run: str, format: str, exported: Export, run_folder: Callable[[str], Path]
) -> None:
    volume = _volume(run)
    expected = Predictor.open(run_folder(run)).predict(volume, probabilities=True).probabilities
    answered = (
        Predictor.open(exported(run, format).path).predict(volume, probabilities=True).probabilities
    )
    np.testing.assert_allclose(answered, expected, atol=1e-4)


@pytest.mark.parametrize("format", ["onnx", "tensorrt"])
def test_half_precision_keeps_float32_outside_and_in_normalisation(
    format: str, exported: Export
) -> None:
    import onnx

    artifact = exported("unet-3d", format, "fp16")
    # Above what float32 exports show, so that it is half precision; within its gate.
    assert 1e-5 < artifact.parity["max_abs"] < 2e-2
    graph = onnx.shape_inference.infer_shapes(onnx.load(artifact.path / "model.onnx")).graph
    kinds = {
        value.name: value.type.tensor_type.elem_type
        for value in [*graph.input, *graph.value_info, *graph.output]
    }
    kinds |= {tensor.name: tensor.data_type for tensor in graph.initializer}
    assert kinds["image"] == kinds["probabilities"] == onnx.TensorProto.FLOAT
    convolutions = [node for node in graph.node if node.op_type in {"Conv", "ConvTranspose"}]
    assert convolutions
    for node in convolutions:
        assert {kinds[name] for name in node.input} == {onnx.TensorProto.FLOAT16}
    for node in graph.node:
        if node.op_type in {"ReduceMean", "Sqrt", "Softmax", "Reciprocal"}:
            assert kinds[node.input[0]] == onnx.TensorProto.FLOAT


def test_onnx_metadata_and_free_batch_size(exported: Export) -> None:
    import onnx

    model = onnx.load(exported("unet-3d", "onnx").path / "model.onnx")
    assert [entry.version for entry in model.opset_import if entry.domain == ""] == [18]
    properties = {entry.key: entry.value for entry in model.metadata_props}
    assert properties["input"] == "image"
    assert properties["output"] == "probabilities"
    assert properties["tfseg_version"]
    batch, *window = model.graph.input[0].type.tensor_type.shape.dim
    assert not batch.HasField("dim_value")
    assert [size.dim_value for size in window] == [8, 16, 8, 1]


def test_tensorrt_artifact_describes_itself(exported: Export) -> None:
    from tfseg.files import sha256

    artifact = exported("unet-3d", "tensorrt")
    sidecar = json.loads((artifact.path / "model.engine.json").read_text())
    assert {"sm80", "sm86", "sm89"} <= set(sidecar["compute_capabilities"])
    # Turing has no 3D convolution in float32: it is left out, and the reason is kept.
    assert "not supported" in sidecar["refused_compute_capabilities"]["sm75"]
    assert sidecar["profile"] == {
        "min": [1, 8, 16, 8, 1],
        "opt": [1, 8, 16, 8, 1],
        "max": [4, 8, 16, 8, 1],
    }
    digest = sha256(artifact.path / "model.onnx")
    assert sidecar["onnx_sha256"] == digest
    assert sidecar["engine_sha256"] == sha256(artifact.path / "model.engine")
    statement = artifact.parity["statement"]
    assert "cannot run without a GPU" in statement
    assert f"the exact ONNX graph the engine was built from, model.onnx with SHA-256 {digest}" in (
        statement
    )


# --- SavedModel ---------------------------------------------------------------------------------

_PLAIN_TENSORFLOW = """
    import os, sys
    import numpy as np, tensorflow as tf
    before = set(sys.modules)
    loaded = tf.saved_model.load(sys.argv[1])
    imported = {name.partition(".")[0] for name in set(sys.modules) - before}
    assert not {"keras", "tfseg", "tfseg_export"} & imported, imported
    assert not {"tfseg", "tfseg_export"} & set(sys.modules)
    volume = np.load(sys.argv[2])
    labels = loaded.signatures["segment"](
        volume=tf.constant(volume), spacing_mm=tf.constant([2.5, 1.1, 0.9])
    )["labels"]
    np.save(sys.argv[3], labels.numpy())
    for signature in ("serving_default", "segment"):
        function = loaded.signatures[signature]
        print(signature, function.structured_input_signature[1], function.structured_outputs)

    # As TensorFlow Serving runs it: a session that feeds what the client sent. (Python's
    # own session refuses other shapes before the graph sees them; the server's does not.)
    from tensorflow.core.protobuf import config_pb2
    with tf.compat.v1.Session(graph=tf.Graph()) as session:
        meta = tf.compat.v1.saved_model.load(session, ["serve"], sys.argv[1])
        signature = meta.signature_def["segment"]
        options = config_pb2.CallableOptions(
            feed=[signature.inputs[name].name for name in ("volume", "spacing_mm")],
            fetch=[signature.outputs["labels"].name],
        )
        run = session._make_callable_from_options(options)
        served, = run(volume, np.float32([2.5, 1.1, 0.9]))
        np.testing.assert_array_equal(served, labels.numpy())
        for wrong in (np.zeros((4, 4, 4, 2), np.float32), np.zeros((4, 4, 4), np.float32)):
            try:
                run(wrong, np.ones(3, np.float32))
            except tf.errors.InvalidArgumentError as error:
                assert "c = 1 channels (CT)" in str(error), error
                print("refused", wrong.shape)
"""


def test_savedmodel_needs_tensorflow_alone(exported: Export, tmp_path: Path) -> None:
    artifact = exported("unet-3d", "savedmodel")
    assert artifact.path.name == "1"
    assert artifact.path.parent.name == "unet-3d"
    volume = _volume("unet-3d")
    np.save(tmp_path / "volume.npy", volume.channel_last())
    result = subprocess.run(
        [
            sys.executable,
            "-c",
            textwrap.dedent(_PLAIN_TENSORFLOW),
            str(artifact.path),
            str(tmp_path / "volume.npy"),
            str(tmp_path / "labels.npy"),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr[-2000:]
    labels = np.load(tmp_path / "labels.npy")
    assert labels.dtype == np.uint8
    expected = Predictor.open(artifact.path).predict(volume).labels.array
    np.testing.assert_array_equal(labels, expected)
    assert "shape=(None, 8, 16, 8, 1), dtype=tf.float32, name='image'" in result.stdout
    assert "shape=(None, None, None, 1), dtype=tf.float32, name='volume'" in result.stdout
    assert "shape=(3,), dtype=tf.float32, name='spacing_mm'" in result.stdout
    assert "refused (4, 4, 4, 2)" in result.stdout
    assert "refused (4, 4, 4)" in result.stdout


def test_warm_up_records_are_tensorflow_serving_s(exported: Export) -> None:
    import tensorflow as tf

    path = exported("unet-3d", "savedmodel").path / "assets.extra" / "tf_serving_warmup_requests"
    records = [record.numpy() for record in tf.data.TFRecordDataset(str(path))]
    logs = pytest.importorskip("tensorflow_serving.apis.prediction_log_pb2")
    requests = [logs.PredictionLog.FromString(record).predict_log.request for record in records]
    assert [r.model_spec.signature_name for r in requests] == ["serving_default", "segment"]
    image = tf.make_ndarray(requests[0].inputs["image"])
    assert image.shape == (1, 8, 16, 8, 1)
    assert image.dtype == np.float32
    assert tf.make_ndarray(requests[1].inputs["volume"]).shape == (2, 2, 2, 1)
    loaded = tf.saved_model.load(str(path.parents[1]))
    for request in requests:
        inputs = {
            name: tf.constant(tf.make_ndarray(proto)) for name, proto in request.inputs.items()
        }
        loaded.signatures[request.model_spec.signature_name](**inputs)


def test_versions_count_up_and_the_highest_is_opened(
    exported: Export, run_folder: Callable[[str], Path], tmp_path: Path
) -> None:
    from tfseg_export.source import load_source

    source = load_source(run_folder("unet-3d"))

    def target(**options: Any) -> Path:
        return _target(tmp_path, "liver", source, settings("savedmodel", **options))[0]

    first = exported("unet-3d", "savedmodel").path
    base = tmp_path / "liver"
    assert target() == base / "1"
    for version in ("9", "10"):
        shutil.copytree(first, base / version)
    (base / "9" / "saved_model.pb").unlink()  # opening it would fail
    assert target() == base / "11"
    assert target(version=3) == base / "3"
    _, manifest = open_backend(base)
    assert manifest.format == "savedmodel"


_KILLED = """
    import sys, time
    from tfseg_export import export_run, savedmodel
    savedmodel.measure = lambda *_: (print("measuring", flush=True), time.sleep(600))
    export_run(sys.argv[1], "savedmodel", sys.argv[2])
"""


def test_killed_export_leaves_no_version(run_folder: Callable[[str], Path], tmp_path: Path) -> None:
    process = subprocess.Popen(
        [
            sys.executable,
            "-c",
            textwrap.dedent(_KILLED),
            str(run_folder("unet-2d")),
            str(tmp_path),
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert process.stdout is not None
    with process, process.stdout as output:
        assert output.readline() == "measuring\n"
        assert list(tmp_path.rglob("saved_model.pb")), "killed too early to prove anything"
        os.kill(process.pid, signal.SIGKILL)
    visible = [child.name for child in (tmp_path / "unet-2d").iterdir() if child.name[0] != "."]
    assert visible == []
    # The next export is not in its way, and clears up.
    path = export_run(run_folder("unet-2d"), "savedmodel", tmp_path).path
    assert [child.name for child in path.parent.iterdir()] == [path.name] == ["1"]


# --- parity -------------------------------------------------------------------------------------


@pytest.mark.parametrize("format", ["onnx", "openvino"])
def test_failed_parity_keeps_the_artifact_marked_and_refused(
    format: str,
    run_folder: Callable[[str], Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from tfseg_export import onnx as onnx_exporter

    convert = onnx_exporter.convert

    def broken(network: Any) -> Any:
        import onnx

        model = convert(network)
        # The last convolution: no normalisation behind it makes up for the change.
        last = [node for node in model.graph.node if node.op_type == "Conv"][-1]
        weights = next(w for w in model.graph.initializer if w.name == last.input[1])
        values = onnx.numpy_helper.to_array(weights) * np.float32(1.01)
        weights.CopyFrom(onnx.numpy_helper.from_array(values, weights.name))
        return model

    monkeypatch.setattr(onnx_exporter, "convert", broken)
    with pytest.raises(ParityError, match=r"differ by .*, allowed is 0\.0005"):
        export_run(run_folder("unet-2d"), format, tmp_path)
    _assert_marked_as_failed(tmp_path / f"unet-2d-{format}")


def test_failed_parity_of_tflite(
    run_folder: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tfseg_export import tflite

    replace = tflite.with_builtin_layers

    def broken(network: Any) -> Any:
        clone = replace(network)
        # Not shared with the network that is the reference: it is written in another way.
        kernel = clone.get_layer("logits0").kernel
        kernel.assign(kernel.numpy() * 1.01)
        return clone

    monkeypatch.setattr(tflite, "with_builtin_layers", broken)
    with pytest.raises(ParityError, match=r"differ by .*, allowed is 0\.0005"):
        export_run(run_folder("unet-3d"), "tflite", tmp_path)
    _assert_marked_as_failed(tmp_path / "unet-3d-tflite")


def _assert_marked_as_failed(folder: Path) -> None:
    assert Manifest.load(folder).parity["passed"] is False  # type: ignore[index]
    assert json.loads((folder / "parity.json").read_text())["passed"] is False
    with pytest.raises(DataError, match=r"parity\.passed is not true"):
        open_backend(folder)


def test_a_window_of_the_training_data_is_measured(
    run_folder: Callable[[str], Path], tmp_path: Path
) -> None:
    from tfseg.datasets.phantom import make_phantom
    from tfseg_export.parity import parity_windows
    from tfseg_export.source import load_source

    run = tmp_path / "run"
    shutil.copytree(run_folder("unet-3d"), run)
    data = make_phantom(tmp_path / "data", cases=2)
    (run / "config.json").write_text(json.dumps({"data": str(data)}))
    windows = parity_windows(load_source(run))
    assert windows.training_window == "measured"
    batch = windows.batches[-1]
    assert batch.name == "window of a training image"
    assert batch.windows.shape == (1, 8, 16, 8, 1)
    # Normalised CT of the body's centre: neither air everywhere nor raw HU.
    assert -3 <= batch.windows.min() < batch.windows.max() <= (300 - 40) / 80

    shutil.rmtree(data)
    gone = parity_windows(load_source(run))
    assert "not on this machine" in gone.training_window
    assert len(gone.batches) == len(windows.batches) - 1


def test_parity_by_hand() -> None:
    from tfseg_export import parity

    gate = parity.Gate(max_abs=0.1, max_abs_flat=0.5)
    reference = np.float32([[0.7, 0.3], [0.55, 0.45], [0.1, 0.9], [0.2, 0.8]])
    candidate = np.float32([[0.65, 0.35], [0.45, 0.55], [0.1, 0.9], [0.2, 0.8]])
    record = parity._compare(reference, candidate, gate)
    assert record["max_abs"] == pytest.approx(0.1)
    assert record["mean_abs"] == pytest.approx((2 * 0.05 + 2 * 0.1) / 8)
    assert record["label_agreement"] == 3 / 4
    # The second voxel's classes are 0.1 apart: two moves of 0.1 may swap them.
    assert record["label_agreement_decided"] == 1
    # Class 0 has 2 voxels here and 1 there, 1 in common: 2 * 1 / 3; class 1: 2 * 2 / 5.
    assert record["dice"] == pytest.approx(2 / 3)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_an_artifact_that_is_not_finite_fails(value: float) -> None:
    from tfseg_export import parity

    answer = np.full((1, 4, 4, 2), 0.5, np.float32)
    network = SimpleNamespace(reference=lambda _: answer, backend=lambda _: answer)
    windows = parity.Windows((parity.Batch("any", np.zeros((1, 4, 4, 1), np.float32)),), "none")
    records = parity.compare_windows(
        network,  # type: ignore[arg-type]
        lambda _: np.full_like(answer, value),
        windows,
        parity.GATES["fp32"],
    )
    document = parity.report(
        windows=records, precision="fp32", runtime="", statement="", training_window=""
    )
    assert document["passed"] is False
    assert "not finite" in document["verdict"]
    json.dumps(document, allow_nan=False)
