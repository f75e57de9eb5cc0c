"""TensorFlow Lite and OpenVINO artifacts: what opens them, and what it refuses."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest

from tfseg.artifact import Manifest, digest_files
from tfseg.cli.main import run
from tfseg.errors import ConfigError, DataError
from tfseg.inference.backends import open_backend
from tfseg.inference.backends.openvino import load_library
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
MAIN_FILE = {"tflite": "model.tflite", "openvino": "model.xml"}
TITLE = {"tflite": "a TensorFlow Lite model", "openvino": "an OpenVINO model"}
FORMATS = list(MAIN_FILE)


def write_manifest(folder: Path, kind: str, *, passed: bool | None = True) -> None:
    parity = None if passed is None else {"passed": passed}
    Manifest(format=kind, model="unet", plan=PLAN, files=digest_files(folder), parity=parity).save(
        folder
    )


def _write_tflite(folder: Path) -> None:
    import tensorflow as tf

    root = tf.Module()
    root.classify = tf.function(
        lambda image: {"probabilities": tf.concat([1 - image, image], -1)},
        input_signature=[tf.TensorSpec((1, 4, 6, 1), name="image")],
        autograph=False,
    )
    converter = tf.lite.TFLiteConverter.from_concrete_functions(
        [root.classify.get_concrete_function()], root
    )
    (folder / "model.tflite").write_bytes(converter.convert())


def _write_openvino(folder: Path) -> None:
    openvino = load_library()
    operations = openvino.opset13
    image = operations.parameter([1, 4, 6, 1], openvino.Type.f32, name="image")
    rest = operations.subtract(operations.constant(np.ones(1, np.float32)), image)
    answer = operations.concat([rest, image], axis=3)
    openvino.save_model(openvino.Model([answer], [image]), folder / "model.xml")


@pytest.fixture(scope="session")
def originals(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One artifact of each format whose answer is known: probabilities (1 - x, x)."""
    root = tmp_path_factory.mktemp("edge")
    for kind, write in (("tflite", _write_tflite), ("openvino", _write_openvino)):
        (root / kind).mkdir()
        write(root / kind)
        write_manifest(root / kind, kind)
    return root


@pytest.fixture(params=FORMATS)
def artifact(request: pytest.FixtureRequest, originals: Path, tmp_path: Path) -> Path:
    """A copy of one of them, named after its format."""
    return Path(shutil.copytree(originals / request.param, tmp_path / request.param))


def test_it_answers_any_number_of_windows(artifact: Path) -> None:
    backend, manifest = open_backend(artifact)
    assert manifest.plan == PLAN
    for count in (1, 3):
        batch = np.random.default_rng(count).random((count, 4, 6, 1), np.float32)
        expected = np.concatenate([1 - batch, batch], -1)
        answer = backend(batch)
        assert answer.dtype == np.float32
        np.testing.assert_allclose(answer, expected, atol=1e-7)
        np.testing.assert_allclose(backend(batch[..., ::-1, :]), expected[:, :, ::-1], atol=1e-7)
        np.testing.assert_allclose(answer, expected, atol=1e-7)  # no view of a reused buffer


def test_its_main_file_names_it_too(artifact: Path) -> None:
    _, manifest = open_backend(artifact / MAIN_FILE[artifact.name])
    assert manifest.format == artifact.name


def test_openvino_computes_in_float32(originals: Path) -> None:
    """CPUs with bfloat16 would use it otherwise."""
    backend, _ = open_backend(originals / "openvino")
    hint = backend._model.get_property("INFERENCE_PRECISION_HINT")  # type: ignore[attr-defined]
    assert hint == load_library().Type.f32


_ALONE = """
    import json, socket, sys
    from tfseg.cli.main import run

    def refuse(*_):
        raise AssertionError("a connection was opened")

    socket.socket.connect = refuse
    artifact, data, scan, out = sys.argv[1:]
    assert run(["predict", artifact, scan, "-o", out]) == 0
    assert run(["evaluate", artifact, "--data", data, "--all-cases", "--json"]) == 0
    assert not {"tensorflow", "keras", "openvino_telemetry"} & set(sys.modules)
"""


def test_predict_and_evaluate_need_neither_tensorflow_nor_the_network(
    artifact: Path, tmp_path: Path
) -> None:
    data = tmp_path / "data"
    image = np.zeros((2, 9, 7), np.float32)
    image[:, 2:6, 3:5] = 1  # what the model finds
    write_volume(Volume.from_geometry(image), data / "imagesTr/scan.nii.gz")
    write_volume(Volume.from_geometry(image.astype(np.uint8)), data / "labelsTr/scan.nii.gz")
    description = {
        "name": "Boxes",
        "modality": {"0": "grey"},
        "labels": {"0": "background", "1": "object"},
        "training": [{"image": "./imagesTr/scan.nii.gz", "label": "./labelsTr/scan.nii.gz"}],
        "test": [],
    }
    (data / "dataset.json").write_text(json.dumps(description))
    scan, out = data / "imagesTr/scan.nii.gz", tmp_path / "labels.nii.gz"
    home = tmp_path / "home"  # where OpenVINO's telemetry would keep its identifier
    home.mkdir()
    result = subprocess.run(
        [
            sys.executable,
            "-c",
            textwrap.dedent(_ALONE),
            *map(str, (artifact, data, scan, out)),
        ],
        capture_output=True,
        text=True,
        check=False,
        env={"HOME": str(home), "PATH": ""},
    )
    assert result.returncode == 0, result.stderr
    assert re.fullmatch(rf"{out}  \d+\.\d s\n", result.stderr)  # and none of the runtimes' own
    document = json.loads(result.stdout[result.stdout.index("{") :])
    assert document["mean_dice"] == 1
    assert out.is_file()
    assert not list(home.glob("intel*"))


@pytest.mark.parametrize("kind", FORMATS)
def test_a_file_that_is_no_model_is_refused(
    kind: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """The manifest agrees with the file: it was no model from the start."""
    (tmp_path / MAIN_FILE[kind]).write_bytes(b"no model")
    write_manifest(tmp_path, kind)
    with pytest.raises(DataError, match=f"cannot be loaded as {TITLE[kind]}: .+"):
        open_backend(tmp_path)
    assert capfd.readouterr().err == ""


# --- through the command line ---------------------------------------------------------------------


def _failed(folder: Path) -> None:
    write_manifest(folder, folder.name, passed=False)


def _unmeasured(folder: Path) -> None:
    write_manifest(folder, folder.name, passed=None)


def _tampered(folder: Path) -> None:
    with (folder / MAIN_FILE[folder.name]).open("ab") as handle:
        handle.write(b" ")


def _truncated(folder: Path) -> None:
    path = folder / MAIN_FILE[folder.name]
    path.write_bytes(path.read_bytes()[:200])
    write_manifest(folder, folder.name)


def _nameless(folder: Path) -> None:
    (folder / "tfseg.json").unlink()


def _of_another_format(folder: Path) -> None:
    write_manifest(folder, "savedmodel")


BAD_ARTIFACTS = {
    "parity failed": (_failed, r"must not be used.*parity\.passed is not true"),
    "parity unknown": (_unmeasured, r"must not be used.*parity\.passed is not true"),
    "changed file": (_tampered, r"model\.(tflite|xml) is damaged: its SHA-256"),
    "never a model": (_truncated, r"model\.(tflite|xml) cannot be loaded as an? .* model: "),
    "no manifest": (_nameless, r"manifest is missing.*tfseg\.json"),
    "another format": (_of_another_format, r"format (tflite|openvino); its manifest says 'saved"),
}


@pytest.mark.parametrize("case", BAD_ARTIFACTS)
def test_bad_input_predict_with_an_artifact_that_must_not_answer(
    case: str, artifact: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    spoil, pattern = BAD_ARTIFACTS[case]
    spoil(artifact)
    _refuse(artifact, pattern, tmp_path, capfd)


def test_bad_input_openvino_without_its_weights(
    originals: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    folder = Path(shutil.copytree(originals / "openvino", tmp_path / "openvino"))
    (folder / "model.bin").unlink()
    _refuse(folder, r"model\.bin is missing although the manifest lists it", tmp_path, capfd)
    write_manifest(folder, "openvino")
    _refuse(folder, r"model\.xml cannot be loaded.*bin file", tmp_path, capfd)


@pytest.mark.parametrize(
    ("kind", "package", "module"),
    [
        ("tflite", "ai_edge_litert", "ai_edge_litert.interpreter"),
        ("openvino", "openvino", "openvino"),
    ],
)
def test_bad_input_runtime_not_installed(
    kind: str,
    package: str,
    module: str,
    originals: Path,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delitem(sys.modules, module, raising=False)
    monkeypatch.setitem(sys.modules, package, None)
    pattern = rf"no package {package}\. Install it with: pip install 'tfseg\[{kind}\]'"
    _refuse(originals / kind, pattern, tmp_path, capfd)


def test_a_runtime_that_does_not_load_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    from tfseg.inference.backends import optional

    def broken(name: str) -> None:
        raise OSError("libtbb.so.12: cannot open shared object file")

    monkeypatch.setattr(optional.importlib, "import_module", broken)
    with pytest.raises(ConfigError, match=r"OpenVINO is installed but does not load: libtbb\.so"):
        load_library()


def _refuse(model: Path, pattern: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Check that predicting with ``model`` fails with one line and writes nothing."""
    scan, out = tmp_path / "scan.nii.gz", tmp_path / "labels.nii.gz"
    write_volume(Volume.from_geometry(np.zeros((2, 5, 7), np.float32)), scan)
    capfd.readouterr()
    assert run(["predict", str(model), str(scan), "-o", str(out)]) == 2
    captured = capfd.readouterr()
    assert captured.out == ""
    lines = captured.err.splitlines()
    assert len(lines) == 1, captured.err
    assert re.search(pattern, lines[0]), lines[0]
    assert not out.exists()
