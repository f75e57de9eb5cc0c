"""What every classifier promises, in every rank: sizes, gradient, saving, names, precision."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfseg.models import MODELS, build

pytestmark = pytest.mark.slow  # dozens of deep networks are built


BACKBONES = [
    (name, rank)
    for name, info in MODELS.items()
    if info.kind == "backbone"
    for rank in info.dims
    # Deep members add blocks, no other parts, and time.
    if name not in {"vgg19", "resnet34", "resnet101", "resnet152", "densenet161"}
]
# Xception-65 normalises a sum that is not activated: of a single voxel nothing would be left.
EDGES = {"alexnet": 64, "xception65": 64}

every_backbone = pytest.mark.parametrize(("name", "rank"), BACKBONES)


def small(name, rank, classes=3):
    keras.utils.set_random_seed(0)
    edge = EDGES.get(name, 32)
    return build(name, (edge,) * rank + (2,), classes, base_filters=4)


def image(model, batch=2):
    shape = (batch, *model.input_shape[1:])
    return np.random.default_rng(0).normal(size=shape).astype(np.float32)


@every_backbone
def test_logits_gradient_and_round_trip(name, rank, tmp_path):
    model = small(name, rank)
    x = image(model)
    rng = np.random.default_rng(1)
    with tf.GradientTape() as tape:
        logits = model(x, training=True)
        loss = tf.reduce_sum(logits * rng.normal(size=logits.shape))
    assert logits.shape == (2, 3)
    gradients = tape.gradient(loss, [weight.value for weight in model.trainable_weights])
    dead = [
        weight.path
        for weight, gradient in zip(model.trainable_weights, gradients, strict=True)
        if gradient is None or not np.any(gradient) or not np.isfinite(gradient).all()
    ]
    assert dead == []
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras", compile=False, safe_mode=True)
    np.testing.assert_array_equal(again(x), model(x))


@every_backbone
def test_any_size_and_two_builds_alike(name, rank):
    with keras.StatelessScope(initialize_variables=False):
        free = build(name, (None,) * rank + (1,), 1)
        fixed = build(name, (67,) * rank + (1,), 1)
    assert free.outputs[0].shape == fixed.outputs[0].shape == (None, 1)
    assert [w.path for w in free.weights] == [w.path for w in fixed.weights]


@pytest.mark.parametrize("name", ["googlenet"])
def test_auxiliary_classifiers_get_gradient_too(name):
    keras.utils.set_random_seed(0)
    model = build(name, (32, 32, 1), 3, base_filters=4, auxiliary=True, auxiliary_dropout=0)
    with tf.GradientTape() as tape:
        answers = model(image(model), training=True)
        loss = tf.add_n([tf.reduce_sum(answer**2) for answer in answers])
    gradients = tape.gradient(loss, [weight.value for weight in model.trainable_weights])
    assert all(gradient is not None for gradient in gradients)
    assert len(MODELS[name].loss_weights) == len(answers) == 3


@pytest.fixture
def mixed_precision():
    keras.mixed_precision.set_dtype_policy("mixed_float16")
    yield
    keras.mixed_precision.set_dtype_policy("float32")


@every_backbone
@pytest.mark.usefixtures("mixed_precision")
def test_mixed_precision_keeps_logits_in_float32(name, rank):
    with keras.StatelessScope(initialize_variables=False):
        model = small(name, rank)
    assert model.outputs[0].dtype == "float32"
    assert {weight.dtype for weight in model.weights} == {"float32"}
