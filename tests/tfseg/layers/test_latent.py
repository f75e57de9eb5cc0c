"""The sample and the loss of a variational autoencoder."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfseg.layers import AutoencoderLoss, GaussianSample


def constant(value, *shape):
    return tf.fill(shape, np.float32(value))


def test_a_perfect_copy_with_a_standard_normal_code_costs_nothing():
    image = tf.random.stateless_normal((2, 4, 4, 3), seed=(0, 1))
    loss = AutoencoderLoss()([image, image, constant(0, 2, 5), constant(0, 2, 5)])
    np.testing.assert_allclose(loss, [0, 0])


@pytest.mark.parametrize("spatial", [(4, 2), (2, 2, 2)])
def test_worked_by_hand(spatial):
    """Off by 2 everywhere: 4. Five times 3^2 + e^1 - 1 - 1 over 8 voxels, whatever channels."""
    image, far = constant(1, 1, *spatial, 3), constant(3, 1, *spatial, 3)
    loss = AutoencoderLoss()([image, far, constant(3, 1, 5), constant(1, 1, 5)])
    np.testing.assert_allclose(loss, [4 + 5 * (9 + np.e - 2) / 8], rtol=1e-6)


def test_it_is_one_loss_a_sample():
    image = constant(0, 3, 2, 2, 1)
    rebuilt = tf.constant([0.0, 1.0, 2.0])[:, None, None, None] + image
    loss = AutoencoderLoss()([image, rebuilt, constant(0, 3, 1), constant(0, 3, 1)])
    np.testing.assert_allclose(loss, [0, 1, 4])


def test_without_training_the_sample_is_the_mean():
    mean = constant(0.5, 2, 3)
    np.testing.assert_array_equal(GaussianSample()([mean, constant(9, 2, 3)]), mean)


def test_samples_have_the_moments_that_are_asked_for():
    layer = GaussianSample(seed=0)
    mean = tf.constant([[0.0, 3.0]] * 20_000)
    log_variance = tf.constant([[0.0, np.log(4.0)]] * 20_000, tf.float32)
    drawn = layer([mean, log_variance], training=True).numpy()
    np.testing.assert_allclose(drawn.mean(0), [0, 3], atol=0.05)
    np.testing.assert_allclose(drawn.std(0), [1, 2], atol=0.05)


def test_a_restored_state_draws_what_would_have_come():
    layer, other = GaussianSample(seed=1), GaussianSample(seed=2)
    inputs = [constant(0, 2, 3), constant(0, 2, 3)]
    first = layer(inputs, training=True).numpy()
    other(inputs, training=True)
    for variable, saved in zip(other.variables, layer.variables, strict=True):
        variable.assign(saved)
    second = layer(inputs, training=True).numpy()
    assert len(layer.variables) == 1
    assert not np.array_equal(first, second)
    np.testing.assert_array_equal(other(inputs, training=True), second)


def test_both_are_restored_and_stay_in_float32():
    for layer in (GaussianSample(seed=3, dtype="float16"), AutoencoderLoss(dtype="float16")):
        again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(layer))
        assert again.get_config() == layer.get_config()
        assert again.compute_dtype == "float32"
