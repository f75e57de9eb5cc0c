"""Instance normalisation against its definition in float64, in each of its forms."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfseg.errors import ConfigError
from tfseg.layers import InstanceNormalization, normalise
from tfseg.layers.norm import instance_norm_in_training

SHAPES = pytest.mark.parametrize(
    "shape", [(3, 7, 5, 4), (2, 3, 6, 5, 4), (1, 1, 1, 2)], ids=["2d", "3d", "one-voxel"]
)


def by_definition(x, gamma, beta, epsilon=1e-5):
    x = x.astype(np.float64)
    axes = tuple(range(1, x.ndim - 1))
    mean = x.mean(axes, keepdims=True)
    variance = ((x - mean) ** 2).mean(axes, keepdims=True)
    return (x - mean) / np.sqrt(variance + epsilon) * gamma + beta


def layer_and_input(shape, dtype=np.float32):
    rng = np.random.default_rng(7)
    x = (rng.normal(2, 3, shape) + 10 * rng.normal(size=shape[-1])).astype(dtype)
    gamma, beta = rng.normal(1, 0.3, shape[-1]), rng.normal(0, 1, shape[-1])
    layer = InstanceNormalization()
    layer.build(x.shape)
    layer.set_weights([gamma, beta])
    return layer, x, gamma, beta


def with_unknown_batch(layer, x, training=False):
    """The layer as a function of any batch size."""
    spec = tf.TensorSpec((None, *x.shape[1:]), x.dtype)
    return tf.function(lambda image: layer.call(image, training), input_signature=[spec])


def with_unknown_sizes(layer, x):
    """The layer as a function of any batch and any size."""
    spec = tf.TensorSpec((*(None,) * (x.ndim - 1), x.shape[-1]), x.dtype)
    return tf.function(layer.call, input_signature=[spec])


@SHAPES
@pytest.mark.parametrize("known_batch", [True, False])
def test_each_sample_and_channel_is_normalised_alone(shape, known_batch):
    layer, x, gamma, beta = layer_and_input(shape)
    call = layer if known_batch else with_unknown_batch(layer, x)
    np.testing.assert_allclose(call(x).numpy(), by_definition(x, gamma, beta), atol=1e-5)


@pytest.mark.parametrize("known_batch", [True, False])
@pytest.mark.parametrize("shape", [(3, 7, 5, 4), (2, 3, 6, 5, 4), (1, 1, 1, 2), (17, 4, 3, 2)])
def test_training_normalises_alike(shape, known_batch):
    layer, x, gamma, beta = layer_and_input(shape)
    call = layer if known_batch else with_unknown_batch(layer, x, training=True)
    found = call(x, training=True) if known_batch else call(x)
    np.testing.assert_allclose(found, by_definition(x, gamma, beta), atol=1e-5)


def test_training_of_a_million_voxels_is_as_far_off_as_is_said():
    """The variance is 3e-4 off, an answer half of that, and z reaches 10."""
    x = a_million_voxels()
    layer = InstanceNormalization()
    layer.build(x.shape)
    np.testing.assert_allclose(layer(x, training=True), by_definition(x, 1, 0), atol=5e-3)


@SHAPES
def test_sizes_may_be_unknown(shape):
    layer, x, gamma, beta = layer_and_input(shape)
    np.testing.assert_allclose(
        with_unknown_sizes(layer, x)(x), by_definition(x, gamma, beta), atol=1e-5
    )


def a_million_voxels():
    """Skewed values with an offset."""
    skewed = np.random.default_rng(11).gamma(2, 1.5, (1, 100, 100, 100, 3)).astype(np.float32)
    return skewed + np.float32([0, 3, -20])


@pytest.mark.parametrize("known_batch", [True, False])
def test_a_million_voxels_keep_float32_s_digits(known_batch):
    x = a_million_voxels()
    layer = InstanceNormalization()
    layer.build(x.shape)
    call = layer if known_batch else with_unknown_batch(layer, x)
    np.testing.assert_allclose(call(x), by_definition(x, 1, 0), atol=1e-5)


def operations(function, *specs):
    graph = tf.function(function).get_concrete_function(*specs).graph
    return [operation.type for operation in graph.get_operations()]


def test_few_samples_are_scaled_by_the_fused_operator_many_are_not_taken_apart():
    """The slices of volumes come by the hundred; an operator each would never finish tracing."""
    for count, fused in ((2, 2), (16, 16), (17, 0)):
        layer, x, gamma, beta = layer_and_input((count, 4, 4, 3))
        kinds = operations(layer.call, tf.TensorSpec(x.shape))
        assert kinds.count("FusedBatchNormV3") == fused
        np.testing.assert_allclose(layer(x), by_definition(x, gamma, beta), atol=1e-5)


@pytest.mark.parametrize(
    "form", ["training", "training, unknown batch", "known batch", "unknown batch"]
)
@pytest.mark.parametrize("shape", [(2, 3, 5, 2), (2, 3, 2, 4, 2)], ids=["2d", "3d"])
def test_the_gradient_is_the_quotient_of_small_differences(shape, form):
    layer, x, gamma, beta = layer_and_input(shape)
    weight = np.random.default_rng(1).normal(size=shape)
    image = tf.constant(x)
    calls = {
        "training": lambda image: layer(image, training=True),
        "training, unknown batch": with_unknown_batch(layer, x, training=True),
        "known batch": layer,
        "unknown batch": with_unknown_batch(layer, x),
    }
    call = calls[form]
    with tf.GradientTape() as tape:
        tape.watch(image)
        loss = tf.reduce_sum(call(image) * tf.constant(weight, tf.float32))
    found = tape.gradient(loss, [image, *layer.trainable_variables])
    for index, values in enumerate((x.astype(np.float64), gamma, beta)):
        for where in np.ndindex(values.shape):
            ends = []
            for step in (1e-5, -1e-5):
                moved = [x.astype(np.float64), gamma.copy(), beta.copy()]
                moved[index][where] += step
                ends.append((by_definition(*moved) * weight).sum())
            expected = (ends[0] - ends[1]) / 2e-5
            assert found[index][where].numpy() == pytest.approx(expected, rel=1e-3, abs=1e-4)


def test_the_gradient_keeps_half_precision_and_computes_in_float32():
    """dy sums to 1e5, beyond float16; x is 200 +- 1."""
    rng = np.random.default_rng(3)
    x = (200 + rng.normal(size=(1, 64, 64, 2))).astype(np.float16)
    dy = np.full(x.shape, 12, np.float16)
    dy[:, ::2] += rng.normal(size=dy[:, ::2].shape).astype(np.float16)
    image, gamma = tf.constant(x), tf.ones(2)
    with tf.GradientTape() as tape:
        tape.watch([image, gamma])
        y = instance_norm_in_training(image, gamma, tf.zeros(2), 1e-5)
    found = tape.gradient(y, [image, gamma], output_gradients=tf.constant(dy))
    assert [each.dtype for each in found] == [tf.float16, tf.float32]
    z, wide = by_definition(x, 1, 0), dy.astype(np.float64)
    axes = (1, 2)
    dx = wide - wide.mean(axes, keepdims=True) - z * (wide * z).mean(axes, keepdims=True)
    np.testing.assert_allclose(found[0], dx / x.astype(np.float64).std(axes), atol=5e-3)
    np.testing.assert_allclose(found[1], (wide * z).sum((0, *axes)), rtol=1e-3)


def test_half_precision_has_float32_statistics_in_training_too():
    x = (200 + np.random.default_rng(3).normal(size=(2, 64, 64, 3))).astype(np.float16)
    layer = InstanceNormalization(dtype="mixed_float16")
    layer.build(x.shape)
    answer = layer(tf.constant(x), training=True)
    assert answer.dtype == tf.float16
    np.testing.assert_allclose(answer, by_definition(x, 1, 0), atol=3e-3)


@pytest.mark.parametrize("known_batch", [True, False])
def test_half_precision_keeps_its_type_and_has_float32_statistics(known_batch):
    """200 +- 1 over 4096 voxels: the sum of squares is 2500 times float16's range."""
    rng = np.random.default_rng(3)
    x = (200 + rng.normal(size=(2, 64, 64, 3))).astype(np.float16)
    layer = InstanceNormalization(dtype="mixed_float16")
    layer.build(x.shape)
    call = layer if known_batch else with_unknown_batch(layer, x)
    answer = call(tf.constant(x))
    assert answer.dtype == tf.float16
    assert {weight.dtype for weight in layer.weights} == {"float32"}
    np.testing.assert_allclose(answer, by_definition(x, 1, 0), atol=3e-3)


@pytest.mark.parametrize("known_batch", [True, False])
def test_a_large_offset_does_not_cancel_the_variance(known_batch):
    """30000 +- 1: the difference E[x^2] - E[x]^2 would lose every digit in float32."""
    x = (30_000 + np.random.default_rng(0).normal(size=(1, 16, 16, 1))).astype(np.float32)
    layer = InstanceNormalization()
    layer.build(x.shape)
    call = layer if known_batch else with_unknown_batch(layer, x)
    # float32 has steps of 1/512 there: the mean is known to two of them.
    np.testing.assert_allclose(call(x), by_definition(x, 1, 0), atol=2 / 512)


def test_batch_normalisation_stays_in_float32_under_mixed_precision():
    inputs = keras.Input((4, 4, 2), dtype="float16")
    assert normalise(inputs, kind="batch", name="n").dtype == "float32"


def test_none_adds_nothing():
    inputs = keras.Input((4, 4, 2))
    assert normalise(inputs, kind="none", name="n") is inputs


def test_unknown_kind_is_refused():
    with pytest.raises(
        ConfigError, match="norm must be instance, batch, group or none; got 'layer'"
    ):
        normalise(keras.Input((4, 4, 2)), kind="layer", name="n")
