"""Instance normalisation against its definition in numpy, in both of its forms."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfseg.errors import ConfigError
from tfseg.layers import InstanceNormalization, normalise

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


def with_unknown_batch(layer, x):
    """The layer as a function of any batch size: the form with the moments written out."""
    spec = tf.TensorSpec((None, *x.shape[1:]), x.dtype)
    return tf.function(layer.call, input_signature=[spec])


@SHAPES
@pytest.mark.parametrize("known_batch", [True, False])
def test_each_sample_and_channel_is_normalised_alone(shape, known_batch):
    layer, x, gamma, beta = layer_and_input(shape)
    call = layer if known_batch else with_unknown_batch(layer, x)
    np.testing.assert_allclose(call(x).numpy(), by_definition(x, gamma, beta), atol=1e-5)


def test_the_forms_are_the_ones_meant():
    """A known batch size runs the fused operator; an unknown one must not: nothing exports it."""
    layer, x, _, _ = layer_and_input((2, 4, 4, 3))
    fused = tf.function(layer.call).get_concrete_function(tf.TensorSpec(x.shape)).graph
    plain = with_unknown_batch(layer, x).get_concrete_function().graph
    assert "FusedBatchNormV3" in {operation.type for operation in fused.get_operations()}
    assert "FusedBatchNormV3" not in {operation.type for operation in plain.get_operations()}


def test_a_large_batch_is_not_taken_apart():
    """The slices of volumes come by the hundred; an operator each would never finish tracing."""
    layer, x, gamma, beta = layer_and_input((17, 4, 4, 3))
    graph = tf.function(layer.call).get_concrete_function(tf.TensorSpec(x.shape)).graph
    assert "FusedBatchNormV3" not in {operation.type for operation in graph.get_operations()}
    np.testing.assert_allclose(layer(x), by_definition(x, gamma, beta), atol=1e-5)


@SHAPES
def test_both_forms_have_the_same_gradients(shape):
    layer, x, _, _ = layer_and_input(shape)
    weight = tf.constant(np.random.default_rng(1).normal(size=shape), tf.float32)
    gradients = []
    for call in (layer, with_unknown_batch(layer, x)):
        image = tf.constant(x)
        with tf.GradientTape() as tape:
            tape.watch(image)
            loss = tf.reduce_sum(call(image) * weight)
        gradients.append(tape.gradient(loss, [image, *layer.trainable_variables]))
    for fused, plain in zip(*gradients, strict=True):
        np.testing.assert_allclose(fused, plain, rtol=1e-4, atol=2e-5)


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
