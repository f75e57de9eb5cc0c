"""Recognising what a path holds, and a run folder's network as a backend."""

import numpy as np
import pytest
from scipy.special import softmax

from tfseg.artifact import Manifest
from tfseg.errors import DataError
from tfseg.inference import backends
from tfseg.inference.backends import open_backend
from tfseg.models import build
from tfseg.plan import Channel, Plan, Scale

PLAN = Plan(
    dims=2,
    spacing_mm=None,
    patch_size=(8, 8),
    batch_size=1,
    channels=(Channel(name="grey", normalisation=Scale()),),
    labels=("background", "organ"),
)


def test_a_run_answers_with_the_probabilities_of_its_first_output(tmp_path):
    model = build("unet", (8, 8, 1), 2, base_filters=2, depth=4)  # two outputs
    model.save(tmp_path / "model.keras")
    Manifest(format="run", model="unet", plan=PLAN).save(tmp_path, "manifest.json")
    for path in (tmp_path, tmp_path / "model.keras", str(tmp_path)):
        backend, manifest = open_backend(path)
    assert manifest.plan == PLAN
    x = np.random.default_rng(0).normal(size=(1, 8, 8, 1)).astype(np.float32)
    answer = backend(x)
    assert isinstance(answer, np.ndarray)
    assert answer.dtype == np.float32
    np.testing.assert_allclose(answer, softmax(model(x)[0].numpy(), axis=-1), atol=1e-6)


def test_one_logit_means_two_classes():
    from tfseg.inference.backends.keras_run import class_probabilities

    answer = class_probabilities(np.array([[[[0.0], [np.log(3)]]]], np.float32)).numpy()
    np.testing.assert_allclose(answer[0, 0], [[0.5, 0.5], [0.25, 0.75]], rtol=1e-6)


@pytest.fixture
def opened(monkeypatch):
    """Record which module opens which folder instead of opening it."""
    calls = []

    class Module:
        def __init__(self, name):
            self.name = name

        def open_artifact(self, folder):
            calls.append((self.name.rpartition(".")[2], folder))
            return None, None

    monkeypatch.setattr(backends.importlib, "import_module", Module)
    monkeypatch.setattr(backends, "import_tensorflow", lambda: None)
    return calls


def test_kinds_are_recognised_by_content(tmp_path, opened):
    kinds = {
        "model.keras": "keras_run",
        "model.engine": "tensorrt",
        "model.onnx": "onnx",
        "model.tflite": "tflite",
        "model.xml": "openvino",
        "saved_model.pb": "savedmodel",
    }
    for name, module in kinds.items():
        folder = tmp_path / module
        folder.mkdir()
        (folder / name).touch()
        open_backend(folder)
        open_backend(folder / name)
        assert opened[-2:] == [(module, folder)] * 2


def test_an_engine_is_not_taken_for_the_onnx_beside_it(tmp_path, opened):
    for name in ("model.onnx", "model.engine"):
        (tmp_path / name).touch()
    open_backend(tmp_path)
    open_backend(tmp_path / "model.onnx")
    assert [kind for kind, _ in opened] == ["tensorrt", "onnx"]


def test_the_highest_version_is_taken_by_number(tmp_path, opened):
    for version in ("2", "10", "9", "notes"):
        (tmp_path / version).mkdir()
        (tmp_path / version / "saved_model.pb").touch()
    open_backend(tmp_path)
    assert opened == [("savedmodel", tmp_path / "10")]


def test_nothing_there_is_refused(tmp_path):
    with pytest.raises(DataError, match=r"there is no model .*nowhere\. Name a run folder"):
        open_backend(tmp_path / "nowhere")
    with pytest.raises(DataError, match=r"is no model: looked for model\.keras, model\.engine"):
        open_backend(tmp_path)
    (tmp_path / "scan.nii.gz").touch()
    with pytest.raises(DataError, match=r"scan\.nii\.gz is no model"):
        open_backend(tmp_path / "scan.nii.gz")
