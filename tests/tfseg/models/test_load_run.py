"""Loading a trained network from its run folder."""

import keras
import numpy as np
import pytest

from tfseg.artifact import Manifest
from tfseg.errors import ConfigError, DataError
from tfseg.files import sha256
from tfseg.models import build, inference_model, load_run
from tfseg.plan import Channel, Plan, Scale

PLAN = Plan(
    dims=2,
    spacing_mm=None,
    patch_size=(8, 8),
    batch_size=1,
    channels=(Channel(name="grey", normalisation=Scale()),),
    labels=("background", "organ"),
)


@pytest.fixture
def run_folder(tmp_path):
    folder = tmp_path / "run"
    folder.mkdir()
    Manifest(format="run", model="unet", plan=PLAN).save(folder, "manifest.json")
    return folder


def test_a_run_comes_back(run_folder):
    model = inference_model(build("unet", (8, 8, 1), 2, base_filters=2, depth=2))
    model.save(run_folder / "model.keras")
    again, manifest = load_run(run_folder)
    x = np.random.default_rng(0).normal(size=(1, 8, 8, 1)).astype(np.float32)
    np.testing.assert_array_equal(again(x), model(x))
    assert manifest.plan == PLAN


@pytest.mark.parametrize("name", ["unet", "pspnet"])
def test_a_network_trained_in_half_precision_runs_here_in_single(run_folder, name):
    """A GPU's run is segmented and exported on CPUs, where TensorFlow has no half MaxPool3D."""
    keras.mixed_precision.set_dtype_policy("mixed_float16")
    try:
        model = inference_model(build(name, (16, 16, 16, 1), 2, base_filters=2))
    finally:
        keras.mixed_precision.set_dtype_policy("float32")
    model.save(run_folder / "model.keras")
    again, _ = load_run(run_folder)
    x = np.random.default_rng(0).normal(size=(1, 16, 16, 16, 1)).astype(np.float32)
    single = inference_model(build(name, (16, 16, 16, 1), 2, base_filters=2))
    single.set_weights(model.get_weights())
    np.testing.assert_array_equal(again(x), single(x))


def test_an_unfinished_run_is_refused(run_folder):
    with pytest.raises(DataError, match=r"no finished run: model\.keras is missing\. Train first"):
        load_run(run_folder)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 cut off", b"no zip at all"])
def test_a_damaged_network_is_refused_in_one_line(run_folder, content):
    (run_folder / "model.keras").write_bytes(content)
    with pytest.raises(DataError, match=r"model\.keras cannot be loaded: ") as caught:
        load_run(run_folder)
    assert "\n" not in str(caught.value)


def test_a_network_of_another_training_is_refused(run_folder):
    path = run_folder / "model.keras"
    model = inference_model(build("unet", (8, 8, 1), 2, base_filters=2, depth=2))
    model.save(path)
    manifest = Manifest.load(run_folder, "manifest.json")
    files = {"model.keras": sha256(path)}
    manifest.model_copy(update={"files": files}).save(run_folder, "manifest.json")
    load_run(run_folder)
    inference_model(build("unet", (8, 8, 1), 2, base_filters=2, depth=2)).save(path)
    with pytest.raises(DataError, match=r"is not the network of this training: its SHA-256"):
        load_run(run_folder)


def ending(kind, classes=2):
    """A network of one's own, and what it answers before its ending."""
    inputs = keras.Input((8, 8, 1))
    logits = keras.layers.Conv2D(classes, 1, name="last")(inputs)
    gate = keras.layers.Conv2D(classes, 1, activation="sigmoid", name="gate")
    fused = keras.layers.Conv2D(classes, 1, activation=kind if kind == "softmax" else None)
    endings = {
        "softmax": lambda: fused(inputs),
        "layer": lambda: keras.layers.Softmax()(logits),
        "activation": lambda: keras.layers.Activation("softmax")(logits),
        "operation": lambda: keras.ops.softmax(logits),
        "reshaped": lambda: keras.layers.Reshape((8, 8, classes))(keras.ops.softmax(logits)),
        "two sides": lambda: keras.ops.concatenate(
            [1 - keras.ops.sigmoid(logits[..., :1]), keras.ops.sigmoid(logits[..., :1])], -1
        ),
        "nested": lambda: keras.Sequential([gate_free(classes), keras.layers.Softmax()])(inputs),
        "sigmoid": lambda: keras.layers.Activation("sigmoid")(logits),
        "gated": lambda: logits * gate(inputs),
        "none": lambda: logits,
    }
    return keras.Model(inputs, endings[kind]())


def gate_free(classes):
    return keras.layers.Conv2D(classes, 1, name="inner")


PROBABILITIES = ("softmax", "layer", "activation", "operation", "reshaped", "two sides", "nested")


@pytest.mark.parametrize("kind", [*PROBABILITIES, "gated", "none"])
def test_a_second_softmax_is_never_taken(run_folder, kind, caplog):
    keras.utils.set_random_seed(1)
    model = ending(kind)
    model.save(run_folder / "model.keras")
    x = np.random.default_rng(0).normal(0, 2, (1, 8, 8, 1)).astype(np.float32)
    answer = np.asarray(model(x))
    loaded, _ = load_run(run_folder)
    is_probability = kind in PROBABILITIES
    expected = answer if is_probability else np.asarray(keras.ops.softmax(answer))
    np.testing.assert_allclose(keras.ops.softmax(loaded(x)), expected, atol=1e-6)
    assert ("returns probabilities, not logits" in caplog.text) == is_probability


def test_one_sigmoid_is_of_two_classes(run_folder):
    keras.utils.set_random_seed(1)
    model = ending("sigmoid", classes=1)
    model.save(run_folder / "model.keras")
    x = np.random.default_rng(0).normal(size=(1, 8, 8, 1)).astype(np.float32)
    loaded, _ = load_run(run_folder)
    np.testing.assert_allclose(keras.ops.sigmoid(loaded(x)), model(x), atol=1e-6)


def test_sigmoids_that_exclude_nothing_are_refused(run_folder):
    ending("sigmoid", classes=3).save(run_folder / "model.keras")
    with pytest.raises(ConfigError, match=r"model\.keras must return logits.*each of 3 classes"):
        load_run(run_folder)


def test_a_network_that_carries_code_is_refused(run_folder, tmp_path):
    inputs = keras.Input((8, 8, 1))
    outputs = keras.layers.Lambda(lambda x: x * 2)(inputs)
    keras.Model(inputs, outputs).save(run_folder / "model.keras")
    with pytest.raises(DataError, match=r"model\.keras cannot be loaded: "):
        load_run(run_folder)


def test_a_missing_or_wrong_manifest_is_refused(run_folder):
    (run_folder / "model.keras").write_bytes(b"never reached")
    (run_folder / "manifest.json").write_text('{"format": "run", "model": "unet"}')
    with pytest.raises(ConfigError, match=r"manifest\.json is no valid manifest: plan: Field req"):
        load_run(run_folder)
    (run_folder / "manifest.json").unlink()
    with pytest.raises(DataError, match="the manifest is missing: there is no file"):
        load_run(run_folder)
