"""The perceptual loss against Keras's own VGG16, with weights made up here."""

import json
import re
import subprocess
import sys
from pathlib import Path

import h5py
import keras
import numpy as np
import pytest
import tensorflow as tf

from tfseg.errors import ConfigError
from tfseg.losses import build_loss
from tfseg.losses.features import perceptual_vgg16_term, vgg16_features

LAYERS = ("block1_conv2", "block2_conv2")


@pytest.fixture(scope="module")
def network():
    """VGG16 with weights of its own, biases too."""
    keras.utils.set_random_seed(0)
    made = keras.applications.VGG16(include_top=False, weights=None)
    rng = np.random.default_rng(0)
    for layer in made.layers[:7]:
        if layer.weights:
            layer.bias.assign(rng.normal(0, 5, layer.bias.shape))
    return made


@pytest.fixture(scope="module")
def weights(network, tmp_path_factory):
    path = tmp_path_factory.mktemp("vgg") / "vgg16.weights.h5"
    network.save_weights(path)
    yield str(path)
    path.unlink()  # 59 MB


def by_keras(network, images, names):
    """Features of (n, y, x, 3) images in 0..255, by the original library."""
    model = keras.Model(network.input, [network.get_layer(name).output for name in names])
    features = model(keras.applications.vgg16.preprocess_input(images.astype(np.float32)))
    return [np.asarray(part) for part in (features if len(names) > 1 else [features])]


@pytest.mark.parametrize("names", [LAYERS, ("block3_conv3",), ("block5_conv3",)])
@pytest.mark.parametrize("channels", [1, 3])
def test_features_are_those_of_keras(network, weights, names, channels):
    images = np.random.default_rng(1).uniform(0, 255, (2, 16, 32, channels))
    expected = by_keras(network, np.repeat(images, 3 // channels, -1), names)
    for dtype in (np.float32, np.float64):
        found = vgg16_features(tf.constant(images, dtype), weights, names)
        assert len(found) == len(names)
        for ours, theirs in zip(found, expected, strict=True):
            assert ours.dtype == dtype
            np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-4 * theirs.max())


@pytest.mark.parametrize("size", [(8, 12), (3, 8, 12)])
@pytest.mark.parametrize("distance", ["l1", "squared"])
def test_distance_of_two_images(network, weights, size, distance):
    """Images in [-1, 1], slice by slice, mean over features, slices and layers."""
    rng = np.random.default_rng(2)
    one, two = rng.uniform(-1, 1, (2, 2, *size, 1))
    answer = perceptual_vgg16_term(
        tf.constant(one), tf.constant(two), weights=weights, layers=LAYERS, distance=distance
    )
    expected = np.zeros(2)
    for i in range(2):
        a, b = (
            by_keras(network, np.repeat((x[i].reshape(-1, 8, 12, 1) + 1) * 127.5, 3, -1), LAYERS)
            for x in (one, two)
        )
        for u, v in zip(a, b, strict=True):
            apart = np.abs(u - v) if distance == "l1" else (u - v) ** 2
            expected[i] += apart.mean() / 2
    np.testing.assert_allclose(answer, expected, rtol=1e-4)


@pytest.mark.parametrize("size", [(8, 12), (3, 8, 12)])
@pytest.mark.parametrize("classes", [1, 3])
def test_loss_shows_each_class_as_a_grey_image(network, weights, size, classes):
    rng = np.random.default_rng(3)
    labels = rng.integers(0, max(classes, 2), (2, *size))
    logits = rng.normal(0, 2, (2, *size, classes))
    if classes == 1:
        p, q = labels[..., np.newaxis] * 1.0, 1 / (1 + np.exp(-logits))
    else:
        p, q = np.eye(3)[labels], np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    counted = range(min(classes - 1, 1), classes)
    expected = np.zeros(2)
    for i in range(2):
        for c in counted:
            a, b = (
                by_keras(network, np.repeat(255 * x[i, ..., c].reshape(-1, 8, 12, 1), 3, -1), [n])
                for n in ("block2_conv2",)
                for x in (p, q)
            )
            expected[i] += np.abs(a[0] - b[0]).mean() / len(counted)
    answer = build_loss(f"perceptual_vgg16(weights={weights!r})").per_sample(labels, logits)
    np.testing.assert_allclose(answer, expected, rtol=1e-4)


def test_ignored_voxels_have_no_say(weights):
    rng = np.random.default_rng(4)
    labels = rng.integers(0, 2, (1, 6, 6))
    labels[0, 2:4, 2:4] = 255
    logits = rng.normal(size=(1, 6, 6, 2))
    other = logits.copy()
    other[0, 2:4, 2:4] += 5
    loss = build_loss(f"perceptual_vgg16(weights={weights!r}, ignore_index=255)")
    with tf.GradientTape() as tape:
        variable = tf.constant(logits)
        tape.watch(variable)
        value = loss.per_sample(labels, variable)
    np.testing.assert_allclose(value, loss.per_sample(labels, other), rtol=1e-12)
    gradient = tape.gradient(value, variable).numpy()
    assert not gradient[0, 2:4, 2:4].any()
    assert gradient.any()


@pytest.mark.parametrize("size", [(1, 1), (2, 5, 3)])
def test_extremes_compiled_and_with_sizes_unknown(weights, size):
    loss = build_loss(f"perceptual_vgg16(weights={weights!r}, layers={LAYERS})")
    labels = np.random.default_rng(5).integers(0, 2, (2, *size)).astype(np.int32)
    unknown = (None,) * (len(size) + 1)

    def step(labels, logits):
        with tf.GradientTape() as tape:
            tape.watch(logits)
            each = loss.per_sample(labels, logits)
        return each, tape.gradient(each, logits)

    signature = [tf.TensorSpec(unknown, tf.int32), tf.TensorSpec((*unknown, 2), tf.float32)]
    traced = tf.function(step, input_signature=signature)
    compiled = tf.function(step, jit_compile=True)
    for certain in (1, 1e4, -1e4):
        logits = tf.constant(certain * (2.0 * np.eye(2)[labels] - 1), tf.float32)
        value, gradient = step(tf.constant(labels), logits)
        assert np.isfinite(value).all()
        assert np.isfinite(gradient).all()
        for other in (traced, compiled):
            np.testing.assert_allclose(other(labels, logits)[0], value, rtol=1e-4, atol=1e-3)
    right = tf.constant(1e4 * (2.0 * np.eye(2)[labels] - 1), tf.float32)
    np.testing.assert_array_equal(loss.per_sample(labels, right), [0, 0])


def test_it_can_be_descended_and_the_network_stays_as_it_is(weights):
    loss = build_loss(f"perceptual_vgg16(weights={weights!r})")
    labels = np.random.default_rng(6).integers(0, 2, (1, 6, 6))
    logits = tf.Variable(np.zeros((1, 6, 6, 1), np.float32))
    with tf.GradientTape() as tape:
        first = loss.per_sample(labels, logits)
    assert tape.watched_variables() == (logits,)
    logits.assign_sub(2 * tf.sign(tape.gradient(first, logits)))
    assert loss.per_sample(labels, logits).numpy() < first.numpy()


@pytest.mark.slow
def test_two_replicas_are_one(weights):
    """The network is loaded while each replica is traced: its weights must not become theirs."""
    script = Path(__file__).with_name("replicas_script.py")
    done = subprocess.run(
        [sys.executable, script, f"perceptual_vgg16(weights={weights!r})"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    apart = json.loads(done.stdout.splitlines()[-1])
    assert max(apart.values()) < 1e-5


def test_a_file_in_the_published_form(network, tmp_path):
    """A group a layer, and its order and its weights' in attributes: the older Keras format."""
    path = tmp_path / "vgg16_notop.h5"
    with h5py.File(path, "w") as file:
        file.attrs["layer_names"] = [layer.name.encode() for layer in network.layers]
        for layer in network.layers:
            group = file.create_group(layer.name)
            names = [f"{layer.name}/{end}:0" for end in ("kernel", "bias")] * bool(layer.weights)
            group.attrs["weight_names"] = [name.encode() for name in names]
            for name, values in zip(names, layer.get_weights(), strict=True):
                group[name] = values
    images = np.random.default_rng(7).uniform(0, 255, (1, 8, 8, 3)).astype(np.float32)
    (found,) = vgg16_features(tf.constant(images), str(path), ["block1_conv2"])
    (expected,) = by_keras(network, images, ["block1_conv2"])
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-3)


def test_files_that_cannot_be_used(tmp_path):
    text, other = tmp_path / "notes.h5", tmp_path / "other.weights.h5"
    text.write_text("not weights")
    keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)]).save_weights(other)
    image = tf.zeros((1, 4, 4, 1))
    for given, rule in (
        (None, "a local file of VGG16's weights is needed"),
        (str(tmp_path / "none.h5"), "must be a file ending in .h5"),
        (__file__, "must be a file ending in .h5"),
        (str(text), "must fit VGG16 without its classifier"),
        (str(other), "must fit VGG16 without its classifier"),
    ):
        expected = f"{rule}.*; got {re.escape(repr(given))}"
        with pytest.raises(ConfigError, match=expected):
            perceptual_vgg16_term(image, image, weights=given)
        with pytest.raises(ConfigError, match=f"perceptual_vgg16: weights: .*{rule}"):
            build_loss(f"perceptual_vgg16(weights={given!r})")


@pytest.mark.parametrize(
    ("shape", "layers", "said"),
    [
        ((1, 4, 4, 2), LAYERS, "images of 1 or 3 channels; got 2"),
        (
            (1, 4, 4, 1),
            ("block9_conv1",),
            r"one or more of block1_conv1, .*got \('block9_conv1',\)",
        ),
        ((1, 4, 4, 1), (), r"one or more of block1_conv1, .*got \(\)"),
    ],
)
def test_images_and_layers_that_do_not_fit(weights, shape, layers, said):
    with pytest.raises(ConfigError, match=said):
        perceptual_vgg16_term(tf.zeros(shape), tf.zeros(shape), weights=weights, layers=layers)


def test_lines_are_no_images(weights):
    loss = build_loss(f"perceptual_vgg16(weights={weights!r})")
    with pytest.raises(ConfigError, match="images with 2 or 3 axes; got 1"):
        loss.per_sample(np.zeros((1, 4), int), np.zeros((1, 4, 2)))
