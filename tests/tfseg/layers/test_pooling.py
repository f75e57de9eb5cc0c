"""Adaptive pooling against a loop over its cells."""

import itertools
import math

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfseg.layers import AdaptiveAveragePooling, AdaptiveMaxPooling, pyramid_pooling


def cell_by_cell(x, bins, reduce=np.mean):
    """PyTorch's rule: cell i of n voxels is floor(i n / b) .. ceil((i + 1) n / b) - 1."""
    sizes = x.shape[1:-1]
    result = np.empty((x.shape[0], *(bins,) * len(sizes), x.shape[-1]))
    for cell in itertools.product(range(bins), repeat=len(sizes)):
        box = tuple(
            slice(math.floor(i * n / bins), math.ceil((i + 1) * n / bins))
            for i, n in zip(cell, sizes, strict=True)
        )
        part = x[(slice(None), *box)].astype(np.float64)
        result[(slice(None), *cell)] = reduce(part, tuple(range(1, part.ndim - 1)))
    return result


@pytest.mark.parametrize("bins", [1, 2, 3, 6])
@pytest.mark.parametrize(
    "size",
    [(12, 6), (7, 11), (2, 5), (1, 1), (6, 4, 12), (5, 7, 3), (1, 2, 9)],
    ids=lambda size: "x".join(map(str, size)),
)
def test_cells_average_their_voxels(size, bins):
    x = np.random.default_rng(0).normal(size=(2, *size, 3)).astype(np.float32)
    layer = AdaptiveAveragePooling(bins)
    expected = cell_by_cell(x, bins)
    np.testing.assert_allclose(layer(x), expected, atol=1e-5)
    assert layer.compute_output_shape(x.shape) == expected.shape

    spec = tf.TensorSpec((None,) * (x.ndim - 1) + (3,))
    unknown_size = tf.function(layer.call, input_signature=[spec])
    np.testing.assert_allclose(unknown_size(x), expected, atol=1e-5)


def test_half_precision_sums_in_float32():
    """100 voxels of 1000 sum to more than float16 holds."""
    x = tf.fill((1, 10, 10, 1), tf.constant(1000, tf.float16))
    pooled = AdaptiveAveragePooling(1, dtype="float16")(x)
    assert pooled.dtype == tf.float16
    assert pooled.numpy().item() == 1000


@pytest.mark.parametrize("size", [(12, 18), (7, 5), (6, 7, 9)])
def test_pyramid_has_twice_the_channels_at_the_same_size(size):
    inputs = keras.Input((*size, 8))
    out = pyramid_pooling(inputs, bins=(1, 2, 3, 6), norm="none", activation="relu", name="p")
    assert out.shape == (None, *size, 8 + 4 * 2)


def test_pyramid_keeps_the_global_cell_under_instance_normalisation():
    """Instance normalisation of one voxel is 0 whatever the image: bin 1 must not pass it."""
    inputs = keras.Input((6, 6, 4))
    out = pyramid_pooling(inputs, bins=(1,), norm="instance", activation="leaky_relu", name="p")
    model = keras.Model(inputs, out)
    dark, bright = np.zeros((1, 6, 6, 4), np.float32), np.ones((1, 6, 6, 4), np.float32)
    assert not np.allclose(model(dark)[..., 4:], model(bright)[..., 4:])


@pytest.mark.parametrize("bins", [1, 3, 6])
@pytest.mark.parametrize("size", [(7, 11), (2, 5), (5, 7, 3), (1, 2, 9)])
def test_cells_take_the_maximum_of_their_voxels(size, bins):
    x = np.random.default_rng(0).normal(size=(2, *size, 3)).astype(np.float32)
    layer = AdaptiveMaxPooling(bins)
    expected = cell_by_cell(x, bins, np.max).astype(np.float32)
    np.testing.assert_array_equal(layer(x), expected)
    assert layer.compute_output_shape(x.shape) == expected.shape
    free = tf.TensorSpec((None,) * (len(size) + 1) + (3,))
    np.testing.assert_array_equal(tf.function(layer, input_signature=[free])(x), expected)
