"""TensorFlow Lite and OpenVINO: what is in their files, for runtimes that know nothing of tfseg."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from tfseg_export import Artifact

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

Export = Callable[..., Artifact]
WINDOW = (1, 8, 16, 8, 1)


def _interpreter(artifact: Artifact) -> Any:
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_path=str(artifact.path / "model.tflite"))
    interpreter.allocate_tensors()
    return interpreter


def _openvino_model(artifact: Artifact) -> Any:
    from tfseg.inference.backends.openvino import load_library

    return load_library().Core().read_model(artifact.path / "model.xml")


def test_tflite_has_a_signature_with_names(exported: Export) -> None:
    interpreter = _interpreter(exported("unet-3d", "tflite"))
    assert interpreter.get_signature_list() == {
        "serving_default": {"inputs": ["image"], "outputs": ["probabilities"]}
    }
    image = np.random.default_rng(0).normal(size=WINDOW).astype(np.float32)
    answer = interpreter.get_signature_runner()(image=image)["probabilities"]
    assert answer.shape == (*WINDOW[:-1], 3)
    np.testing.assert_allclose(answer.sum(-1), 1, atol=1e-5)


def test_tflite_half_precision_is_of_the_weights(exported: Export) -> None:
    artifact = exported("unet-3d", "tflite", "fp16")
    # Above what float32 exports show, so that it is half precision; within its gate.
    assert 1e-5 < artifact.parity["max_abs"] < 2e-2
    interpreter = _interpreter(artifact)
    (given,), (returned,) = interpreter.get_input_details(), interpreter.get_output_details()
    assert given["dtype"] == returned["dtype"] == np.float32
    halves = [d for d in interpreter.get_tensor_details() if d["dtype"] == np.float16]
    whole = _interpreter(exported("unet-3d", "tflite")).get_tensor_details()
    assert not [d for d in whole if d["dtype"] == np.float16]
    # The 7 convolutions and the transposed one.
    assert len([d for d in halves if len(d["shape"]) >= 4]) == 8
    assert artifact.size_bytes < exported("unet-3d", "tflite").size_bytes


def test_openvino_takes_one_window_and_can_be_reshaped(exported: Export) -> None:
    from tfseg.inference.backends import open_backend
    from tfseg.inference.backends.openvino import load_library

    artifact = exported("pspnet-2d", "openvino")
    model = _openvino_model(artifact)
    assert (model.input(0).any_name, model.output(0).any_name) == ("image", "probabilities")
    assert list(model.input(0).shape) == [1, 16, 24, 3]
    described = {key: model.get_rt_info(["tfseg", key]).astype(str) for key in ("model", "input")}
    assert described == {"model": "pspnet", "input": "image"}
    model.reshape([3, 16, 24, 3])
    batch = np.random.default_rng(0).normal(size=(3, 16, 24, 3)).astype(np.float32)
    answer = load_library().compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})(batch)
    np.testing.assert_allclose(answer[0], open_backend(artifact.path)[0](batch), atol=1e-5)


def test_openvino_half_precision_is_of_the_weights(exported: Export) -> None:
    artifact = exported("unet-3d", "openvino", "fp16")
    assert 1e-5 < artifact.parity["max_abs"] < 2e-2
    assert "float32" in artifact.parity["runtime"]

    def weights(artifact: Artifact) -> set[str]:
        kernels = (
            node
            for node in _openvino_model(artifact).get_ops()
            if node.get_type_name() == "Constant" and np.prod(node.get_output_shape(0)) > 100
        )
        return {node.get_element_type().get_type_name() for node in kernels}

    assert weights(artifact) == {"f16"}
    assert weights(exported("unet-3d", "openvino")) == {"f32"}
    size = (artifact.path / "model.bin").stat().st_size
    assert size < 0.6 * (exported("unet-3d", "openvino").path / "model.bin").stat().st_size


@pytest.mark.parametrize(
    ("run", "format", "file"),
    [
        ("unet-3d", "tflite", "model.tflite"),
        ("unet-3d", "openvino", "model.xml"),
        ("unet-3d", "openvino", "model.bin"),
    ],
)
def test_files_name_no_folder_of_this_machine(
    run: str, format: str, file: str, exported: Export
) -> None:
    artifact = exported(run, format)
    content = (artifact.path / file).read_bytes()
    assert str(artifact.path.parents[2]).encode() not in content
    assert b"site-packages" not in content
