"""What every supervised loss promises, over the registry.

What a single loss computes is in the test of its own file; a loss that is new here needs only a
line in :data:`CALLS` if its defaults do not do.
"""

import importlib
import inspect
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from tfseg.losses import LOSSES, build_loss
from tfseg.losses.loss import SegmentationLoss

SUPERVISED = [name for name, info in LOSSES.items() if info.kind == "supervised"]

# What to call a loss with where its defaults cannot do.
CALLS: dict[str, str] = {
    "focal": "focal(alpha=None)",  # otherwise the background is special
    "size_constraint": "size_constraint(tolerance=0.0)",  # otherwise about right is right
}
# Needs a file of weights; its own test goes through these promises.
NEEDS_FILE = {"perceptual_vgg16"}
CALLABLE = [name for name in SUPERVISED if name not in NEEDS_FILE]

# The value of a voxel depends on where its neighbours are.
SPATIAL = {
    "unet_weighted_ce",
    "edge_weighted_ce",
    "sobel_edge",
    "star_shape",
    "multiscale_l1",
}
# Weights that are taken as constants: the gradient is by design not that of the value.
STOPPED = {"ghm"}


def call(name):
    return CALLS.get(name, name)


def batch(classes, size=(6, 5), samples=2, seed=0, dtype=np.float32):
    """Labels, logits and the rest that a loss may need."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, max(classes, 2), (samples, *size)).astype(np.uint8)
    logits = rng.normal(0, 2, (samples, *size, classes)).astype(dtype)
    return labels, logits


def extras(name, labels, seed=1):
    """The image and the map for the losses that need them."""
    rng = np.random.default_rng(seed)
    needs = LOSSES[name].needs
    found = {}
    if "image" in needs:
        found["image"] = rng.normal(size=(*labels.shape, 1)).astype(np.float32)
    if "map" in needs:
        found["voxel_map"] = rng.uniform(0, 5, labels.shape).astype(np.float32)
    return found


def value_and_gradient(loss, labels, logits, **given):
    logits = tf.convert_to_tensor(logits)
    with tf.GradientTape() as tape:
        tape.watch(logits)
        each = loss.per_sample(labels, logits, **given)
    return each.numpy(), tape.gradient(each, logits).numpy()


@pytest.mark.parametrize("name", list(LOSSES))
def test_the_registry_says_what_the_function_takes(name):
    info = LOSSES[name]
    function = getattr(importlib.import_module(info.module), name)
    shown = [
        str(parameter).partition(":")[0]
        if parameter.default is inspect.Parameter.empty
        else f"{parameter.name}={parameter.default!r}"
        for parameter in inspect.signature(function).parameters.values()
        if parameter.kind is inspect.Parameter.KEYWORD_ONLY or info.kind == "term"
    ]
    assert info.signature == f"{name}({', '.join(shown)})"
    assert (function.__doc__ or "").startswith("Return ")
    assert info.formula
    assert info.paper


@pytest.mark.parametrize("name", CALLABLE)
@pytest.mark.parametrize("size", [(6, 5), (4, 3, 5)])
@pytest.mark.parametrize("classes", [1, 2, 4])
def test_one_value_a_sample_that_its_neighbours_do_not_change(name, size, classes):
    labels, logits = batch(classes, size)
    given = extras(name, labels)
    loss = build_loss(call(name))
    together, gradient = value_and_gradient(loss, labels, logits, **given)
    assert together.shape == (2,)
    assert together.dtype == np.float32
    assert np.isfinite(together).all()
    assert np.isfinite(gradient).all()
    assert np.abs(gradient).max() > 0
    for i in range(2):
        own = {key: part[i : i + 1] for key, part in given.items()}
        alone = loss.per_sample(labels[i : i + 1], logits[i : i + 1], **own).numpy()
        np.testing.assert_allclose(together[i : i + 1], alone, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("name", CALLABLE)
def test_multi_label_channels(name):
    labels = np.random.default_rng(0).integers(0, 2, (2, 6, 5, 3)).astype(np.float32)
    _, logits = batch(3)
    given = extras(name, labels[..., 0])
    loss = build_loss(call(name), multi_label=True)
    value, gradient = value_and_gradient(loss, labels, logits, **given)
    assert value.shape == (2,)
    assert np.isfinite(value).all()
    assert np.isfinite(gradient).all()


EXTREMES = {
    "no foreground": (np.zeros((1, 4, 4)), None),
    "all foreground": (np.ones((1, 4, 4)), None),
    "one voxel, background": (np.zeros((1, 1, 1)), None),
    "one voxel, foreground": (np.ones((1, 1, 1)), None),
    "certain and right": (np.eye(4)[np.newaxis], 1e4),
    "certain and wrong": (np.eye(4)[np.newaxis], -1e4),
    "certain, no foreground": (np.zeros((1, 4, 4)), 1e4),
    "certain, all foreground": (np.ones((1, 4, 4)), 1e4),
}


@pytest.mark.parametrize("name", CALLABLE)
@pytest.mark.parametrize("case", list(EXTREMES))
@pytest.mark.parametrize("classes", [1, 3])
def test_extremes_are_finite(name, case, classes):
    labels, certain = EXTREMES[case]
    labels = labels.astype(np.uint8)
    if certain is None:
        logits = np.random.default_rng(0).normal(size=(*labels.shape, classes))
    elif classes == 1:
        logits = certain * (2.0 * labels[..., np.newaxis] - 1)
    else:
        logits = certain * (2.0 * np.eye(classes)[labels] - 1)
    given = extras(name, labels)
    loss = build_loss(call(name))
    for dtype in (np.float16, np.float32, np.float64):
        value, gradient = value_and_gradient(loss, labels, logits.astype(dtype), **given)
        assert np.isfinite(value).all(), dtype
        assert np.isfinite(gradient).all(), dtype
        assert value.dtype == (np.float64 if dtype is np.float64 else np.float32)


@pytest.mark.parametrize("name", [name for name in CALLABLE if name not in STOPPED])
@pytest.mark.parametrize("classes", [1, 3])
def test_the_gradient_is_the_slope(name, classes):
    labels, logits = batch(classes, (3, 4), samples=1, seed=3, dtype=np.float64)
    labels[0, 0, 0], labels[0, 1, 1] = 0, 1  # each in every case
    given = extras(name, labels)
    loss = build_loss(call(name))
    _, gradient = value_and_gradient(loss, labels, logits, **given)
    step = 1e-6
    # All shifted copies at once: a sample's value does not depend on its neighbours.
    shifts = step * np.eye(logits.size).reshape(logits.size, *logits.shape[1:])
    many = {key: np.repeat(part, 2 * logits.size, 0) for key, part in given.items()}
    each = loss.per_sample(
        np.repeat(labels, 2 * logits.size, 0),
        np.concatenate([logits + shifts, logits - shifts]),
        **many,
    ).numpy()
    slope = (each[: logits.size] - each[logits.size :]) / (2 * step)
    np.testing.assert_allclose(gradient.ravel(), slope, rtol=1e-5, atol=1e-8)


@pytest.mark.parametrize("name", CALLABLE)
def test_compiled_by_xla_it_agrees(name):
    labels, logits = batch(3)
    given = {key: tf.constant(part) for key, part in extras(name, labels).items()}
    loss = build_loss(call(name))
    eager, slope = value_and_gradient(loss, labels, logits, **given)

    @tf.function(jit_compile=True)
    def compiled(labels, logits):
        with tf.GradientTape() as tape:
            tape.watch(logits)
            each = loss.per_sample(labels, logits, **given)
        return each, tape.gradient(each, logits)

    value, gradient = compiled(tf.constant(labels), tf.constant(logits))
    np.testing.assert_allclose(value, eager, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(gradient, slope, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("name", [name for name in CALLABLE if name not in SPATIAL])
def test_shuffled_voxels_cost_the_same(name):
    labels, logits = batch(3)
    order = np.random.default_rng(5).permutation(30)
    shuffled = labels.reshape(2, 30)[:, order].reshape(labels.shape)
    moved = logits.reshape(2, 30, 3)[:, order].reshape(logits.shape)
    given = extras(name, labels)
    mapped = {key: part.reshape(2, 30, -1)[:, order] for key, part in given.items()}
    mapped = {key: part.reshape(given[key].shape) for key, part in mapped.items()}
    loss = build_loss(call(name))
    np.testing.assert_allclose(
        loss.per_sample(labels, logits, **given),
        loss.per_sample(shuffled, moved, **mapped),
        rtol=1e-5,
        atol=1e-6,
    )


@pytest.mark.parametrize("name", CALLABLE)
def test_renumbered_classes_cost_the_same(name):
    """The background is class 0: it counts here, so that no class is special."""
    labels, logits = batch(3)
    order = np.array([2, 0, 1])  # class c becomes order[c]
    given = extras(name, labels)
    expression = call(name)
    counted = "include_background=True"
    expression = (
        f"{expression[:-1]}, {counted})" if expression.endswith(")") else f"{expression}({counted})"
    )
    loss = build_loss(expression)
    np.testing.assert_allclose(
        loss.per_sample(labels, logits, **given),
        loss.per_sample(order[labels], logits[..., np.argsort(order)], **given),
        rtol=1e-5,
        atol=1e-6,
    )


@pytest.mark.parametrize("name", CALLABLE)
def test_ignored_voxels_have_no_say(name):
    labels, logits = batch(3)
    labels[:, 2:4, 1:3] = 255
    other = logits.copy()
    other[:, 2:4, 1:3] += 7 * np.random.default_rng(8).normal(size=(2, 2, 2, 3))
    given = extras(name, np.zeros_like(labels))
    expression = call(name)
    rule = "ignore_index=255"
    expression = (
        f"{expression[:-1]}, {rule})" if expression.endswith(")") else f"{expression}({rule})"
    )
    loss = build_loss(expression)
    value, gradient = value_and_gradient(loss, labels, logits, **given)
    changed, _ = value_and_gradient(loss, labels, other.astype(np.float32), **given)
    np.testing.assert_allclose(value, changed, rtol=1e-5, atol=1e-6)
    assert not gradient[:, 2:4, 1:3].any()
    everything = np.full_like(labels, 255)
    value, gradient = value_and_gradient(loss, everything, logits, **given)
    assert np.isfinite(value).all()
    assert not gradient.any()


@pytest.mark.parametrize("name", CALLABLE)
def test_it_is_restored_from_its_config(name):
    labels, logits = batch(2)
    given = extras(name, labels)
    loss = build_loss(call(name))
    config = json.loads(json.dumps(loss.get_config()))
    again = SegmentationLoss.from_config(config)
    np.testing.assert_array_equal(
        loss.per_sample(labels, logits, **given), again.per_sample(labels, logits, **given)
    )


@pytest.mark.parametrize("name", CALLABLE)
def test_sizes_unknown_until_it_runs(name):
    loss = build_loss(call(name))
    labels, logits = batch(3)
    given = {key: tf.constant(part) for key, part in extras(name, labels).items()}

    @tf.function(
        input_signature=[
            tf.TensorSpec((None, None, None), tf.uint8),
            tf.TensorSpec((None, None, None, 3), tf.float32),
        ]
    )
    def traced(labels, logits):
        return loss.per_sample(labels, logits, **given)

    np.testing.assert_allclose(
        traced(labels, logits), loss.per_sample(labels, logits, **given), rtol=1e-5, atol=1e-6
    )


@pytest.mark.parametrize("name", CALLABLE)
def test_it_can_be_descended(name):
    """40 steps on the logits themselves lower it."""
    labels, logits = batch(3, seed=4)
    given = extras(name, labels)
    loss = build_loss(call(name))
    variable = tf.Variable(logits)
    optimizer = tf.keras.optimizers.Adam(0.05)

    @tf.function
    def step():
        with tf.GradientTape() as tape:
            value = tf.reduce_sum(loss.per_sample(labels, variable, **given))
        optimizer.apply([tape.gradient(value, variable)], [variable])
        return value

    optimizer.build([variable])
    first = step().numpy()
    for _ in range(40):
        last = step().numpy()
    assert last < first - 1e-4 * abs(first)


@pytest.mark.slow
def test_two_replicas_are_one():
    """Loss and gradient at the same global batch, overlap per image and over the whole batch."""
    script = Path(__file__).with_name("replicas_script.py")
    done = subprocess.run(
        [sys.executable, script, *(call(name) for name in CALLABLE)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    worst = json.loads(done.stdout.splitlines()[-1])
    assert len(worst) >= len(CALLABLE)
    assert {name: apart for name, apart in worst.items() if not apart < 1e-5} == {}
