"""The planar forms of 3D layers answer as Keras' own, which TensorFlow computes in 3D."""

from __future__ import annotations

import itertools
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfseg_export.builtin import PlanarConv3D, PlanarPooling3D, with_builtin_layers

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

# Every axis has another size, odd ones among them, so that no two can be mixed up.
SHAPE = (11, 8, 9, 3)
IMAGE = np.random.default_rng(0).normal(-1, 1, (2, *SHAPE)).astype(np.float32)


def replaced(layer: Any) -> Any:
    """The answer of ``layer``'s replacement in a network of it alone, traced for any batch size."""
    inputs = keras.Input(SHAPE)
    network = with_builtin_layers(keras.Model(inputs, layer(inputs)))
    assert type(network.get_layer(layer.name)) is not type(layer)
    run = tf.function(network, input_signature=[tf.TensorSpec((None, *SHAPE))], autograph=False)
    return run(IMAGE).numpy()


CONVOLUTIONS = [
    *itertools.product([1, 2, 3, (5, 3, 1)], [1, 2, (3, 1, 2)], [1], ["same", "valid"]),
    *itertools.product([(3, 3, 3), (2, 3, 1)], [1], [2, (4, 1, 2)], ["same", "valid"]),
]


@pytest.mark.parametrize(("kernel", "stride", "dilation", "padding"), CONVOLUTIONS)
def test_convolution(kernel: Any, stride: Any, dilation: Any, padding: str) -> None:
    layer = keras.layers.Conv3D(
        4,
        kernel,
        strides=stride,
        dilation_rate=dilation,
        padding=padding,
        activation="relu",
        bias_initializer="normal",
    )
    answer = replaced(layer)
    np.testing.assert_allclose(answer, layer(IMAGE), atol=1e-5)


@pytest.mark.parametrize("kind", [keras.layers.MaxPooling3D, keras.layers.AveragePooling3D])
@pytest.mark.parametrize(
    ("size", "stride", "padding"),
    [*itertools.product([2, 3, (1, 2, 3)], [None, (1, 2, 3)], ["same", "valid"])],
)
def test_pooling(kind: Any, size: Any, stride: Any, padding: str) -> None:
    layer = kind(size, strides=stride, padding=padding)
    np.testing.assert_allclose(replaced(layer), layer(IMAGE), atol=1e-6)


@pytest.mark.parametrize("shared_axes", [None, [1, 2, 3], [2]])
def test_prelu(shared_axes: Any) -> None:
    layer = keras.layers.PReLU(alpha_initializer="normal", shared_axes=shared_axes)
    np.testing.assert_allclose(replaced(layer), layer(IMAGE), atol=1e-6)


def test_prelu_of_2d_stays() -> None:
    inputs = keras.Input((4, 4, 2))
    network = keras.Model(inputs, keras.layers.PReLU(name="p")(inputs))
    assert with_builtin_layers(network).get_layer("p") is network.get_layer("p")


def test_a_network_is_replaced_at_every_depth_and_keeps_its_own_layers() -> None:
    inner_in = keras.Input((4, 4, 4, 2))
    inner = keras.Model(inner_in, keras.layers.Conv3D(2, 3, padding="same", name="c")(inner_in))
    inputs = keras.Input((4, 4, 4, 2))
    x = keras.layers.MaxPooling3D(2, name="pool")(inner(inputs))
    network = keras.Model(inputs, keras.layers.UpSampling3D(2, name="up")(x))
    clone = with_builtin_layers(network)
    assert isinstance(clone.get_layer("pool"), PlanarPooling3D)
    assert isinstance(clone.get_layer(inner.name).get_layer("c"), PlanarConv3D)
    assert clone.get_layer("up") is network.get_layer("up")
    assert isinstance(network.get_layer("pool"), keras.layers.MaxPooling3D)
    image = np.random.default_rng(1).normal(size=(1, 4, 4, 4, 2)).astype(np.float32)
    np.testing.assert_allclose(clone(image), network(image), atol=1e-6)


def test_grouped_convolutions_stay() -> None:
    inputs = keras.Input((4, 4, 4, 4))
    network = keras.Model(inputs, keras.layers.Conv3D(4, 3, groups=2, name="c")(inputs))
    assert with_builtin_layers(network).get_layer("c") is network.get_layer("c")
