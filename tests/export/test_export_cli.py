"""``tfseg export`` as it is called; bad input costs one line and leaves nothing."""

from __future__ import annotations

import dataclasses
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tfseg.artifact import Manifest
from tfseg.cli.main import run
from tfseg_export.formats import FORMATS

# Keras 3.15 converts variables with numpy 1's form of __array__.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

RunFolder = Callable[[str], Path]


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys; from tfseg.cli.main import run; code = run(['export', '--help']); "
        "heavy = {'tensorflow', 'keras', 'numpy', 'onnx', 'pydantic'} & set(sys.modules); "
        "sys.exit(f'imported {heavy}' if heavy else code)"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr
    for option in ("--format", "--out", "--name", "--version", "--precision", "--json"):
        assert option in result.stdout


def test_the_latest_run_is_exported(
    run_folder: RunFolder,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "latest").symlink_to(run_folder("unet-2d"))
    monkeypatch.chdir(tmp_path)
    assert run(["export", "--format", "onnx", "--name", "vessels"]) == 0
    lines = capfd.readouterr().out.splitlines()
    assert re.fullmatch(r"exports/vessels-onnx  \d+\.\d MB", lines[0])
    assert lines[1].startswith("parity passed: probabilities differ by at most ")
    # Once more, as JSON: what was exported before is replaced.
    assert run(["export", "--format", "onnx", "--name", "vessels", "--json"]) == 0
    document = json.loads(capfd.readouterr().out)
    assert document["path"] == "exports/vessels-onnx"
    assert document["parity"]["passed"] is True
    assert document["size_bytes"] > 1000


def refuse(
    capfd: pytest.CaptureFixture[str], arguments: list[str], *patterns: str, code: int = 2
) -> None:
    """Check that a command fails with one line that matches every pattern."""
    capfd.readouterr()
    assert run(arguments) == code
    captured = capfd.readouterr()
    assert captured.out == ""
    # TensorFlow's native code logs past the command line when a test has imported it before.
    lines = [line for line in captured.err.splitlines() if not re.match(r"[IWE]\d{4} ", line)]
    assert len(lines) == 1, captured.err
    assert lines[0].startswith("tfseg: ")
    for pattern in patterns:
        assert re.search(pattern, lines[0]), lines[0]


BAD_OPTIONS = {
    "unknown format": (["--format", "savedmodle"], ["unknown format", "savedmodel"]),
    "no format": ([], ["--format"]),
    "fp16 for a SavedModel": (
        ["--format", "savedmodel", "--precision", "fp16"],
        ["exported as fp32", "'fp16'", "offered by onnx, tensorrt, tflite, openvino and triton"],
    ),
    "int8": (["--format", "onnx", "--precision", "int8"], ["fp32 or fp16", "'int8'"]),
    "int8 for TensorFlow Lite": (
        ["--format", "tflite", "--precision", "int8"],
        ["TensorFlow Lite is exported as fp32 or fp16", "'int8'"],
    ),
    "int8 for OpenVINO": (
        ["--format", "openvino", "--precision", "int8"],
        ["OpenVINO is exported as fp32 or fp16", "'int8'"],
    ),
    "version of a TensorFlow Lite model": (
        ["--format", "tflite", "--version", "2"],
        ["only SavedModels", "version 2 for TensorFlow Lite"],
    ),
    "capability of an OpenVINO model": (
        ["--format", "openvino", "--compute-capability", "sm89"],
        ["TensorRT engines", "sm89 for OpenVINO"],
    ),
    "near miss": (["--format", "tf-lite"], ["unknown format 'tf-lite'", "tflite"]),
    "version of an ONNX file": (["--format", "onnx", "--version", "3"], ["only SavedModels", "3"]),
    "version zero": (["--format", "savedmodel", "--version", "0"], ["positive integer", "0"]),
    "capability of an ONNX file": (
        ["--format", "onnx", "--compute-capability", "sm89"],
        ["TensorRT engines", "sm89"],
    ),
    "unknown capability": (
        ["--format", "tensorrt", "--compute-capability", "sm80,sm42"],
        ["knows the compute capabilities", "'sm42'"],
    ),
    "empty capability": (
        ["--format", "tensorrt", "--compute-capability", ""],
        ["knows the compute capabilities", "''"],
    ),
    "capability without 3D convolution": (
        ["--format", "tensorrt", "--compute-capability", "sm75"],
        ["cannot compile this network for sm75", "Leave --compute-capability out"],
    ),
    "name with a slash": (
        ["--format", "onnx", "--name", "../liver"],
        ["letters, digits", r"'\.\./liver'"],
    ),
}


@pytest.mark.parametrize("case", BAD_OPTIONS)
def test_bad_input_options(
    case: str, run_folder: RunFolder, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    options, patterns = BAD_OPTIONS[case]
    out = tmp_path / "exports"
    arguments = ["export", str(run_folder("unet-3d")), "-o", str(out), *options]
    refuse(capfd, arguments, *patterns)
    assert not list(tmp_path.rglob("*.*")), "something was left on disk"


@pytest.mark.parametrize("told", [10**9, 0])
@pytest.mark.parametrize("format", ["onnx", "tensorrt", "tflite", "openvino", "triton"])
def test_bad_input_network_larger_than_the_format(
    format: str,
    told: int,
    run_folder: RunFolder,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from tfseg_export import source

    run_path = run_folder("unet-2d")
    if told:
        shutil.copytree(run_path, run_path := tmp_path / "run")
        manifest = Manifest.load(run_path, "manifest.json")
        manifest = manifest.model_copy(update={"training": {"parameters": told}})
        manifest.save(run_path, "manifest.json")
        monkeypatch.setattr(source, "load_source", None)  # it is not even loaded
    else:
        small = dataclasses.replace(FORMATS[format], largest=1000)
        monkeypatch.setitem(FORMATS, format, small)
    arguments = ["export", str(run_path), "--format", format, "-o", str(tmp_path / "out")]
    refuse(capfd, arguments, "takes networks of up to", "this one has", "Export it as savedmodel")
    assert not (tmp_path / "out").exists()


def test_bad_input_no_run(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    arguments = ["export", str(tmp_path / "nothing"), "--format", "onnx", "-o", str(tmp_path)]
    refuse(capfd, arguments, "nothing", r"model\.keras is missing")
    assert not list(tmp_path.iterdir())


@pytest.fixture
def run_copy(run_folder: RunFolder, tmp_path: Path) -> Path:
    copy = tmp_path / "run"
    shutil.copytree(run_folder("unet-2d"), copy)
    return copy


def test_bad_input_run_without_manifest(
    run_copy: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (run_copy / "manifest.json").unlink()
    out = tmp_path / "exports"
    arguments = ["export", str(run_copy), "--format", "onnx", "-o", str(out)]
    refuse(capfd, arguments, r"manifest is missing.*manifest\.json")
    assert not out.exists()


@pytest.mark.parametrize("damage", ["truncated", "empty"])
def test_bad_input_damaged_network(
    damage: str, run_copy: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path = run_copy / "model.keras"
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2] if damage == "truncated" else b"")
    out = tmp_path / "exports"
    arguments = ["export", str(run_copy), "--format", "savedmodel", "-o", str(out)]
    refuse(capfd, arguments, r"model\.keras cannot be loaded")
    assert not out.exists()


def test_bad_input_plan_of_another_training(
    run_copy: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    manifest = Manifest.load(run_copy, "manifest.json")
    plan = manifest.plan.model_copy(update={"patch_size": (32, 24)})
    manifest.model_copy(update={"plan": plan}).save(run_copy, "manifest.json")
    out = tmp_path / "exports"
    arguments = ["export", str(run_copy), "--format", "onnx", "-o", str(out)]
    refuse(capfd, arguments, r"windows of shape \(32, 24, 3\)", r"takes \(16, 24, 3\)")
    assert not out.exists()


def test_bad_input_output_is_a_file(
    run_folder: RunFolder, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("in the way")
    arguments = ["export", str(run_folder("unet-2d")), "--format", "onnx", "-o"]
    refuse(capfd, [*arguments, str(tmp_path / "file")], "cannot write", "writable disk")
    assert (tmp_path / "file").read_text() == "in the way"


def test_bad_input_version_exists(
    run_folder: RunFolder, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "unet-2d" / "4").mkdir(parents=True)
    arguments = ["export", str(run_folder("unet-2d")), "--format", "savedmodel"]
    options = ["--version", "4", "-o", str(tmp_path)]
    refuse(capfd, [*arguments, *options], r"unet-2d/4 exists", "to get 5")
    assert not list((tmp_path / "unet-2d" / "4").iterdir())


def test_bad_input_target_is_something_else(
    run_folder: RunFolder, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    precious = tmp_path / "unet-2d-onnx" / "thesis.txt"
    precious.parent.mkdir()
    precious.write_text("not backed up")
    arguments = ["export", str(run_folder("unet-2d")), "--format", "onnx", "-o", str(tmp_path)]
    refuse(capfd, arguments, "is no exported model, so it is not replaced")
    assert precious.read_text() == "not backed up"


def test_bad_input_no_tensorrt(
    run_folder: RunFolder,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from tfseg_export import tensorrt

    names = ("tensorrt_of_nobody",)
    monkeypatch.setattr(tensorrt, "load_library", lambda load=tensorrt.load_library: load(names))
    arguments = ["export", str(run_folder("unet-2d")), "--format", "tensorrt", "-o", str(tmp_path)]
    refuse(capfd, arguments, "TensorRT is not installed", r"tfseg\[tensorrt\]")
    assert not list(tmp_path.rglob("model.*"))


@pytest.mark.parametrize(
    ("format", "package", "module"),
    [
        ("tflite", "ai_edge_litert", "ai_edge_litert.interpreter"),
        ("openvino", "openvino", "openvino"),
    ],
)
def test_bad_input_runtime_not_installed(
    format: str,
    package: str,
    module: str,
    run_folder: RunFolder,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delitem(sys.modules, module, raising=False)
    monkeypatch.setitem(sys.modules, package, None)
    arguments = ["export", str(run_folder("unet-2d")), "--format", format, "-o", str(tmp_path)]
    refuse(capfd, arguments, "is not installed", rf"pip install 'tfseg\[{format}\]'")
    assert not list(tmp_path.iterdir())


def test_an_operation_that_tflite_lacks_is_named(
    run_folder: RunFolder,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from tfseg_export import tflite

    monkeypatch.setattr(tflite, "with_builtin_layers", lambda network: network)
    arguments = ["export", str(run_folder("pspnet-3d")), "--format", "tflite", "-o", str(tmp_path)]
    refuse(capfd, arguments, "TensorFlow Lite cannot take.*MaxPool3D.*Export as onnx", code=1)
    assert not list(tmp_path.iterdir())


def test_an_operation_that_openvino_lacks_is_named(
    run_folder: RunFolder,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from onnx import helper

    from tfseg_export import onnx

    def convert(source: Any, convert: Callable[[Any], Any] = onnx.convert) -> Any:
        model = convert(source)
        softmax = next(node for node in model.graph.node if node.op_type == "Softmax")
        softmax.domain, softmax.op_type = "com.nobody", "Hardmin"
        model.opset_import.append(helper.make_opsetid("com.nobody", 1))
        return model

    monkeypatch.setattr(onnx, "convert", convert)
    arguments = ["export", str(run_folder("unet-2d")), "--format", "openvino", "-o", str(tmp_path)]
    refuse(capfd, arguments, r"OpenVINO cannot take this network.*com\.nobody\.Hardmin", code=1)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("format", ["tflite", "openvino"])
def test_an_earlier_export_stays_until_the_new_one_is_whole(
    format: str,
    run_folder: RunFolder,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from tfseg_export import parity

    arguments = ["export", str(run_folder("unet-2d")), "--format", format, "-o", str(tmp_path)]
    assert run([*arguments, "--json"]) == 0
    document = json.loads(capfd.readouterr().out)
    folder = tmp_path / f"unet-2d-{format}"
    assert document["path"] == str(folder)
    assert document["format"] == format
    before = {path.name: path.read_bytes() for path in folder.iterdir()}

    def interrupted(*_: Any) -> None:
        raise MemoryError("while measuring")

    monkeypatch.setattr(parity, "compare_windows", interrupted)
    assert run(arguments) == 1
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    assert [path.name for path in tmp_path.iterdir()] == [folder.name]
