"""A Triton model repository: its layout, its config.pbtxt, and what is refused.

No Triton runs here. ``config.pbtxt`` is parsed by protobuf with the documented fields, and with the
message that Triton's own client ships where that is installed.
"""

from __future__ import annotations

import functools
import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, text_format

from tfseg.artifact import Manifest, verify_files
from tfseg.cli.main import run
from tfseg.errors import DataError, ParityError
from tfseg.inference.backends import open_backend
from tfseg.inference.predictor import Predictor
from tfseg.volume import Volume
from tfseg_export import Artifact, export_run
from tfseg_export.formats import settings
from tfseg_export.pbtxt import parse_pbtxt
from tfseg_export.triton_config import Tensors, accelerators_in, config_text, differences

# Keras 3.15 converts variables with numpy 1's form of __array__.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

Export = Callable[..., Artifact]
RunFolder = Callable[[str], Path]

LABELS = ("background", "organ")
CASES = {
    "3d": ((64, 64, 64, 1), "fp32", None),
    "3d, large": ((128, 128, 128, 2), "fp16", None),
    "3d, TensorRT": ((96, 96, 96, 1), "fp32", "tensorrt"),
    "2d, TensorRT in half precision": ((256, 256, 3), "fp16", "tensorrt"),
}


def _text(window: tuple[int, ...], precision: str, accelerator: str | None) -> str:
    tensors = Tensors.of(window, len(LABELS))
    return config_text(
        "liver", tensors, labels=LABELS, precision=precision, accelerator=accelerator
    )


# message -> field -> (number, type), as the published model_config.proto has them: those that are
# written here and no more. [] says that a field may be repeated; a map is a repeated entry.
SCHEMA = {
    "ModelParameter": {"key": (1, "string"), "value": (2, "string")},
    "Accelerator": {"name": (1, "string"), "parameters": (2, "ModelParameter[]")},
    "Accelerators": {"gpu_execution_accelerator": (1, "Accelerator[]")},
    "Optimization": {"execution_accelerators": (4, "Accelerators")},
    "ModelInput": {"name": (1, "string"), "data_type": (2, "DataType"), "dims": (4, "int64[]")},
    "ModelOutput": {"name": (1, "string"), "data_type": (2, "DataType"), "dims": (3, "int64[]")},
    "Latest": {"num_versions": (1, "uint32")},
    "VersionPolicy": {"latest": (1, "Latest")},
    "InstanceGroup": {"kind": (4, "Kind"), "count": (2, "int32")},
    "DynamicBatching": {"max_queue_delay_microseconds": (2, "uint64")},
    "WarmUpInput": {"data_type": (1, "DataType"), "dims": (2, "int64[]"), "zero_data": (3, "bool")},
    "WarmUpEntry": {"key": (1, "string"), "value": (2, "WarmUpInput")},
    "WarmUp": {
        "name": (1, "string"),
        "batch_size": (2, "uint32"),
        "inputs": (3, "WarmUpEntry[]"),
    },
    "ModelConfig": {
        "name": (1, "string"),
        "version_policy": (3, "VersionPolicy"),
        "max_batch_size": (4, "int32"),
        "input": (5, "ModelInput[]"),
        "output": (6, "ModelOutput[]"),
        "instance_group": (7, "InstanceGroup[]"),
        "default_model_filename": (8, "string"),
        "dynamic_batching": (11, "DynamicBatching"),
        "optimization": (12, "Optimization"),
        "model_warmup": (16, "WarmUp[]"),
        "backend": (17, "string"),
    },
}
ENUMS = {
    "DataType": {"TYPE_INVALID": 0, "TYPE_FP16": 10, "TYPE_FP32": 11},
    "Kind": {"KIND_AUTO": 0, "KIND_GPU": 1, "KIND_CPU": 2},
}
SCALARS = {"int64": 3, "uint64": 4, "int32": 5, "bool": 8, "string": 9, "uint32": 13}


@functools.cache
def model_config() -> Any:
    """The class of SCHEMA's ModelConfig: protobuf's own parser then refuses everything else."""
    file = descriptor_pb2.FileDescriptorProto(name="t.proto", package="t", syntax="proto3")
    for name, values in ENUMS.items():
        enum = file.enum_type.add(name=name)
        for value, number in values.items():
            enum.value.add(name=value, number=number)
    for name, fields in SCHEMA.items():
        message = file.message_type.add(name=name)
        for field, (number, kind) in fields.items():
            base = kind.removesuffix("[]")
            entry = message.field.add(name=field, number=number, label=1 if kind == base else 3)
            entry.type = SCALARS.get(base, 14 if base in ENUMS else 11)
            if base not in SCALARS:
                entry.type_name = f".t.{base}"
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("t.ModelConfig"))


def parse(text: str) -> Any:
    return text_format.Parse(text, model_config()())


@pytest.mark.parametrize("case", CASES)
def test_the_configuration_has_the_documented_fields(case: str) -> None:
    window, precision, accelerator = CASES[case]
    config = parse(_text(window, precision, accelerator))
    assert config.name == "liver"
    assert config.backend == "onnxruntime"
    assert config.default_model_filename == "model.onnx"
    assert config.version_policy.latest.num_versions == 1
    assert [(one.count, one.kind) for one in config.instance_group] == [(1, 0)]
    (image,), (probabilities,) = config.input, config.output
    assert (image.name, image.data_type, tuple(image.dims)) == ("image", 11, window)
    assert (probabilities.name, probabilities.data_type) == ("probabilities", 11)
    assert list(probabilities.dims) == [*window[:-1], 2]
    assert config.HasField("dynamic_batching") == (config.max_batch_size > 1)
    (warm_up,) = config.model_warmup
    (entry,) = warm_up.inputs
    assert (warm_up.batch_size, entry.key) == (1, "image")
    assert (entry.value.data_type, tuple(entry.value.dims)) == (11, window)
    assert entry.value.zero_data
    accelerators = config.optimization.execution_accelerators.gpu_execution_accelerator
    assert [one.name for one in accelerators] == ([accelerator] if accelerator else [])
    for one in accelerators:
        sizes = "x".join(map(str, window))
        assert {parameter.key: parameter.value for parameter in one.parameters} == {
            "precision_mode": precision.upper(),
            "trt_profile_min_shapes": f"image:1x{sizes}",
            "trt_profile_opt_shapes": f"image:{config.max_batch_size}x{sizes}",
            "trt_profile_max_shapes": f"image:{config.max_batch_size}x{sizes}",
        }


@pytest.mark.parametrize("case", CASES)
def test_the_configuration_by_tritons_own_message(case: str) -> None:
    published = pytest.importorskip("tritonclient.grpc.model_config_pb2", exc_type=ImportError)
    text = _text(*CASES[case])
    config = text_format.Parse(text, published.ModelConfig())
    # The numbers of SCHEMA are the published ones, and nothing is lost under them.
    again = published.ModelConfig.FromString(parse(text).SerializeToString())
    assert again == config
    assert config.input[0].data_type == published.TYPE_FP32
    assert config.instance_group[0].kind == published.ModelInstanceGroup.KIND_AUTO


def test_the_text_form_is_read_as_protobuf_reads_it() -> None:
    text = _text(*CASES["3d, TensorRT"])
    ours, config = parse_pbtxt(text), parse(text)
    assert ours["name"] == [config.name]
    assert ours["max_batch_size"] == [str(config.max_batch_size)]
    assert ours["input"][0]["dims"] == [str(size) for size in config.input[0].dims]
    assert accelerators_in(ours) == {"tensorrt"}
    strange = "a: 'x' \"y\\n\" # a: 1\nb < c: [] d: -1.5e+3; >, e { f: [{ g: true }, {}] } e {}"
    assert parse_pbtxt(strange) == {
        "a": ["xy\n"],
        "b": [{"c": [], "d": ["-1.5e+3"]}],
        "e": [{"f": [{"g": ["true"]}, {}]}, {}],
    }


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("a: [", "line 1: expected a value; got 'the end'"),
        ("a {\n b: 1", "line 2: expected a field's name; got 'the end'"),
        ("a", "expected ':' or '{'"),
        ("a: 1 }", "expected a field's name; got '}'"),
        ("a: [1 2]", "expected ',' or ']'; got '2'"),
        ("a: 'x", 'line 1: "\'x" is no token'),
        ("\n\na: ?", "line 3: '?' is no token"),
        ("a {" * 60, "at most 50 levels"),
        ("a: }", "expected a value"),
    ],
)
def test_text_of_another_form_is_told_by_its_line(text: str, reason: str) -> None:
    with pytest.raises(ValueError, match=re.escape(reason)):
        parse_pbtxt(text)


@pytest.mark.parametrize(
    ("window", "batch"),
    [((64, 64, 64, 1), 8), ((128, 128, 128, 1), 1), ((160, 160, 160, 1), 1), ((32, 32, 3), 16)],
)
def test_a_call_is_bounded_in_voxels(window: tuple[int, ...], batch: int) -> None:
    assert Tensors.of(window, 2).max_batch == batch


def test_a_label_cannot_leave_its_comment() -> None:
    tensors = Tensors.of((8, 8, 1), 2)
    text = config_text(
        "m", tensors, labels=("a\nbackend: 'python'", "b"), precision="fp32", accelerator=None
    )
    assert parse(text).backend == "onnxruntime"


def test_what_a_person_may_change_in_a_configuration() -> None:
    tensors = Tensors.of((8, 16, 1), 3)
    mine = 'name: "m" input [{ name: "image" data_type: TYPE_FP32 dims: [8, 16, 1] }] '
    fits = [
        "",  # all is read from the graph
        mine + "max_batch_size: 4 unheard_of { a: [1, 2] b: 'c' } instance_group [{ count: 2 }]",
        'max_batch_size: 2 input { name: "image" dims: [-1, -1, 1] }',
        'output [{ name: "probabilities" dims: [-1, 8, 16, 3] }]',
    ]
    for text in fits:
        assert differences(parse_pbtxt(text), "m", tensors) == "", text
    wrong = {
        'name: "n"': "its name is 'n'",
        mine + "max_batch_size: 0": r"its input is 'image' \[8, 16, 1\]",
        'max_batch_size: 1 input { name: "x" dims: [8, 16, 1] }': "its input is 'x'",
        'max_batch_size: 1 output { name: "probabilities" dims: [8, 16, 2] }': r"\[8, 16, 2\]",
    }
    for text, reason in wrong.items():
        assert re.search(reason, differences(parse_pbtxt(text), "m", tensors)), text


# --- the export ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def repository(exported: Export) -> Path:
    """A repository that holds unet-3d/1."""
    return exported("unet-3d", "triton").path.parents[1]


def test_a_repository_as_triton_reads_it(exported: Export, repository: Path) -> None:
    artifact = exported("unet-3d", "triton")
    found = {path.relative_to(repository).as_posix() for path in repository.rglob("*.*")}
    assert found == {
        "unet-3d/config.pbtxt",
        "unet-3d/1/model.onnx",
        "unet-3d/1/tfseg.json",
        "unet-3d/1/parity.json",
    }
    config = parse((repository / "unet-3d" / "config.pbtxt").read_text())
    assert config.name == "unet-3d"
    assert list(config.input[0].dims) == [8, 16, 8, 1]

    import onnx

    graph = onnx.load(artifact.path / "model.onnx").graph
    for (said,), (value,) in ((config.input, graph.input), (config.output, graph.output)):
        _, *sizes = value.type.tensor_type.shape.dim
        assert said.name == value.name
        assert list(said.dims) == [size.dim_value for size in sizes]

    manifest = Manifest.load(artifact.path)
    assert manifest.format == "onnx"
    verify_files(artifact.path, manifest)
    assert manifest.parity == json.loads((artifact.path / "parity.json").read_text())
    assert manifest.parity is not None
    assert manifest.parity["passed"]
    assert (
        "Triton, and ONNX Runtime's execution providers for GPUs, were not run"
        in manifest.parity["statement"]
    )


def test_predict_opens_the_repository(repository: Path, run_folder: RunFolder) -> None:
    field = np.random.default_rng(3).normal(40, 90, (9, 20, 13)).astype(np.float32)
    volume = Volume.from_geometry(field, spacing_mm=(2.5, 1.1, 0.9))
    expected = (
        Predictor.open(run_folder("unet-3d")).predict(volume, probabilities=True).probabilities
    )
    for path in (repository / "unet-3d", repository / "unet-3d" / "1"):
        answered = Predictor.open(path).predict(volume, probabilities=True).probabilities
        np.testing.assert_allclose(answered, expected, atol=1e-4)


def test_the_next_version_keeps_the_configuration(
    repository: Path, run_folder: RunFolder, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    copy = tmp_path / "repository"
    shutil.copytree(repository, copy)
    config = copy / "unet-3d" / "config.pbtxt"
    fitted = config.read_text().replace("count: 1", "count: 2")
    config.write_text(fitted)
    arguments = ["export", str(run_folder("unet-3d")), "--format", "triton", "-o", str(copy)]
    assert run([*arguments, "--json"]) == 0
    document = json.loads(capfd.readouterr().out)
    assert document["path"] == str(copy / "unet-3d" / "2")
    assert document["format"] == "triton"
    assert config.read_text() == fitted
    assert sorted(path.name for path in (copy / "unet-3d").iterdir()) == ["1", "2", "config.pbtxt"]


@pytest.mark.parametrize("format", ["triton", "savedmodel"])
def test_a_version_that_fails_never_gets_a_number(
    format: str, run_folder: RunFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Servers take a folder for a version that an integer names (TensorFlow Serving), or one whose
    # name begins with an integer (Triton).
    failed = {"passed": False, "verdict": "by order of the test"}
    monkeypatch.setattr(f"tfseg_export.{format}.measure", lambda *_: failed)
    earlier = tmp_path / "unet-3d" / "failed-1" / "of-an-earlier-failure"
    earlier.mkdir(parents=True)
    with pytest.raises(ParityError, match=r"unet-3d/failed-1-2 does not reproduce.*by order"):
        export_run(run_folder("unet-3d"), format, tmp_path)
    assert earlier.exists()
    assert {path.name for path in (tmp_path / "unet-3d").iterdir()} == {"failed-1", "failed-1-2"}
    notes = (
        tmp_path / "unet-3d" / "failed-1-2" / ("assets.extra" if format == "savedmodel" else ".")
    )
    assert Manifest.load(notes).parity == failed
    with pytest.raises(DataError, match=r"parity\.passed is not true"):
        open_backend(tmp_path / "unet-3d" / "failed-1-2")


def test_the_accelerator_is_written_and_then_asked_for(tmp_path: Path) -> None:
    from tfseg_export import triton

    plan = SimpleNamespace(num_classes=2, labels=LABELS)
    source: Any = SimpleNamespace(window_shape=(8, 16, 8, 1), manifest=SimpleNamespace(plan=plan))
    asked = settings("triton", precision="fp16", accelerator="tensorrt")
    ((path, text),) = triton.beside(tmp_path / "liver", source, asked).items()
    assert path == tmp_path / "liver" / "config.pbtxt"
    assert parse(text).name == "liver"
    assert accelerators_in(parse_pbtxt(text)) == {"tensorrt"}
    path.parent.mkdir()
    path.write_text(text)
    assert triton.beside(tmp_path / "liver", source, asked) == {}


BAD_INPUT: dict[str, tuple[list[str], str | None, list[str]]] = {
    "another accelerator": (
        ["--accelerator", "openvino"],
        None,
        ["takes tensorrt", "'openvino'"],
    ),
    "capability": (
        ["--compute-capability", "sm89"],
        None,
        ["TensorRT engines", "sm89 for Triton repository"],
    ),
    "int8": (["--precision", "int8"], None, ["fp32 or fp16", "'int8'"]),
    "version zero": (["--version", "0"], None, ["positive integer", "0"]),
    "version exists": (["--version", "1"], None, ["unet-3d/1 exists", "to get 2"]),
    "another window": (
        [],
        'input [{ name: "image" dims: [32, 32, 32, 1] }] max_batch_size: 8',
        ["must take and return the same", r"\[32, 32, 32, 1\]", r"\[8, 16, 8, 1\]", "--name"],
    ),
    "other classes": (
        [],
        'output [{ name: "probabilities" dims: [8, 16, 8, 9] }] max_batch_size: 8',
        [r"\[8, 16, 8, 9\]", r"\[8, 16, 8, 3\]"],
    ),
    "another name": ([], 'name: "liver"', ["name is 'liver'", "'unet-3d'"]),
    "no configuration": ([], "input [", ["must be a model configuration", "config.pbtxt"]),
    "accelerator not in the file": (
        ["--accelerator", "tensorrt"],
        "max_batch_size: 4",
        ["exists and is kept", "'tensorrt'", "remove the file"],
    ),
}


@pytest.mark.parametrize("case", BAD_INPUT)
def test_bad_input_of_the_repository(
    case: str,
    repository: Path,
    run_folder: RunFolder,
    exported: Export,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:
    options, config, patterns = BAD_INPUT[case]
    copy = tmp_path / "repository"
    shutil.copytree(repository, copy)
    if config is not None:
        (copy / "unet-3d" / "config.pbtxt").write_text(config)
    before = _content(tmp_path)
    arguments = ["export", str(run_folder("unet-3d")), "--format", "triton", "-o", str(copy)]
    refuse(capfd, [*arguments, *options], *patterns)
    assert _content(tmp_path) == before


@pytest.mark.parametrize(("present", "asked"), [("savedmodel", "triton"), ("triton", "savedmodel")])
def test_bad_input_versions_of_another_format(
    present: str,
    asked: str,
    run_folder: RunFolder,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:
    notes = tmp_path / "unet-3d" / "3" / ("assets.extra" if present == "savedmodel" else ".")
    notes.mkdir(parents=True)
    (notes / "tfseg.json").write_text("{}")
    before = _content(tmp_path)
    arguments = ["export", str(run_folder("unet-3d")), "--format", asked, "-o", str(tmp_path)]
    refuse(
        capfd, arguments, "must be of one format", f"unet-3d holds {present}, and this is {asked}"
    )
    assert _content(tmp_path) == before


def test_bad_input_accelerator_of_another_format(
    run_folder: RunFolder, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    arguments = ["export", str(run_folder("unet-3d")), "--format", "onnx", "-o", str(tmp_path)]
    options = ["--accelerator", "tensorrt"]
    refuse(capfd, [*arguments, *options], "no accelerator", "tensorrt is offered by triton")
    assert not list(tmp_path.iterdir())


def refuse(capfd: pytest.CaptureFixture[str], arguments: list[str], *patterns: str) -> None:
    """Check that a command fails with one line that matches every pattern."""
    capfd.readouterr()
    assert run(arguments) == 2
    captured = capfd.readouterr()
    assert captured.out == ""
    # TensorFlow's native code logs past the command line when a test has imported it before.
    lines = [line for line in captured.err.splitlines() if not re.match(r"[IWE]\d{4} ", line)]
    assert len(lines) == 1, captured.err
    assert lines[0].startswith("tfseg: ")
    for pattern in patterns:
        assert re.search(pattern, lines[0]), lines[0]


def _content(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }
