"""Double convolutions and residual units."""

import keras
import numpy as np
import pytest

from tfseg.layers import double_conv, residual_unit


def trainable(model):
    return sum(int(np.prod(weight.shape)) for weight in model.trainable_weights)


@pytest.mark.parametrize(
    ("block", "bias", "parameters"),
    [
        # Two convolutions 3x3 with gamma and beta each, with and without biases.
        (double_conv, None, 9 * 3 * 5 + 9 * 5 * 5 + 4 * 5),
        (double_conv, True, 9 * 3 * 5 + 9 * 5 * 5 + 6 * 5),
        # The shortcut adds 1x1 with gamma and beta.
        (residual_unit, None, 9 * 3 * 5 + 9 * 5 * 5 + 3 * 5 + 6 * 5),
        (residual_unit, True, 9 * 3 * 5 + 9 * 5 * 5 + 3 * 5 + 9 * 5),
    ],
)
def test_parameters(block, bias, parameters):
    x = keras.Input((8, 8, 3))
    model = keras.Model(x, block(x, filters=5, norm="batch", bias=bias, name="block"))
    assert model.output_shape == (None, 8, 8, 5)
    assert trainable(model) == parameters


@pytest.mark.parametrize("rank", [2, 3])
def test_a_residual_unit_whose_last_convolution_is_zero_is_its_shortcut(rank):
    keras.utils.set_random_seed(0)
    inputs = keras.Input((4,) * rank + (2,))
    unit = residual_unit(inputs, filters=3, norm="none", activation="relu", name="unit")
    model = keras.Model(inputs, unit)
    layer = model.get_layer("unit_2_conv")
    layer.set_weights([np.zeros(weight.shape) for weight in layer.weights])
    kernel = model.get_layer("unit_shortcut_conv").get_weights()[0].reshape(2, 3)
    x = np.random.default_rng(0).normal(size=(1, *(4,) * rank, 2)).astype(np.float32)
    np.testing.assert_allclose(model(x), np.maximum(x @ kernel, 0), atol=1e-6)
