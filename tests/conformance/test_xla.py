"""XLA takes a network of every family and answers the same; it stays off by default.

On CPUs it is several times slower than TensorFlow's own kernels: docs/adr/0003.
"""

import numpy as np
import pytest
import tensorflow as tf
from kit import SEGMENTERS, images, outputs_of, shape_of, small

pytestmark = pytest.mark.slow

# Each in its lowest rank: compiling is what takes long.
FIRST_OF_FAMILY = {info.family: name for name, info in reversed(SEGMENTERS.items())}


@pytest.mark.parametrize("name", FIRST_OF_FAMILY.values(), ids=FIRST_OF_FAMILY)
def test_compiled_it_answers_the_same(name):
    rank = min(SEGMENTERS[name].dims)
    shape = shape_of(name, rank)
    model = small(name, shape)
    x = tf.constant(images(shape))
    compiled = tf.function(lambda x: outputs_of(model(x)), jit_compile=True)
    for expected, answer in zip(outputs_of(model(x)), compiled(x), strict=True):
        np.testing.assert_allclose(answer, expected, atol=1e-3)


@pytest.mark.parametrize("rank", [2, 3])
def test_compiled_it_has_the_same_gradients(rank):
    shape = shape_of("unet", rank)
    model = small("unet", shape, deep_supervision=False)
    x = tf.constant(images(shape, batch=2))

    def gradients(x):
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(tf.square(model(x, training=True)))
        return tape.gradient(loss, [weight.value for weight in model.trainable_weights])

    plain, compiled = tf.function(gradients), tf.function(gradients, jit_compile=True)
    for expected, answer in zip(plain(x), compiled(x), strict=True):
        np.testing.assert_allclose(answer, expected, atol=1e-4 + 1e-3 * np.abs(expected).max())
