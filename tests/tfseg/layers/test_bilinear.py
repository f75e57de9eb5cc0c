"""Linear upsampling by transposed convolution, margins, crops at an offset, scaled images."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfseg.layers import CropAt, LinearResize, LinearScale, ZeroMargin, conv, linear_deconv


def noise(*shape):
    return np.random.default_rng(0).normal(size=shape).astype(np.float32)


def deconv_model(size, stride, channels=2, **options):
    inputs = keras.Input((*size, channels))
    return keras.Model(inputs, linear_deconv(inputs, stride=stride, name="d", **options))


def test_kernel_by_hand():
    """Stride 2: taps 1/4, 3/4, 3/4, 1/4 along each axis, each channel to itself."""
    model = deconv_model((4, 4), 2)
    taps = np.array([0.25, 0.75, 0.75, 0.25])
    expected = np.einsum("i,j,ab->ijab", taps, taps, np.eye(2))
    np.testing.assert_allclose(model.get_layer("d").get_weights()[0], expected)


@pytest.mark.parametrize("stride", [2, 4])
@pytest.mark.parametrize("size", [(5, 6), (4, 3, 5)])
def test_inside_it_equals_linear_resizing(size, stride):
    x = noise(1, *size, 2)
    large = tuple(n * stride for n in size)
    resized = LinearResize()((x, np.zeros((1, *large, 1), np.float32)))
    inside = (slice(None), *(slice(stride, n - stride) for n in large))
    found = deconv_model(size, stride)(x)
    np.testing.assert_allclose(found[inside], resized[inside], atol=1e-5)
    # The unpadded form has stride / 2 voxels more on each side.
    wide = deconv_model(size, stride, padding="valid")(x)
    assert wide.shape[1:-1] == tuple((n + 1) * stride for n in size)
    cut = (slice(None), *(slice(stride // 2, n - stride // 2) for n in wide.shape[1:-1]))
    np.testing.assert_allclose(wide[cut], found, atol=1e-6)


@pytest.mark.parametrize("trainable", [True, False])
def test_what_is_kept_is_not_learned_also_once_loaded(trainable, tmp_path):
    model = deconv_model((4, 4), 2, trainable=trainable)
    assert len(model.trainable_weights) == trainable
    model.save(tmp_path / "m.keras")
    again = keras.saving.load_model(tmp_path / "m.keras", safe_mode=True)
    assert len(again.trainable_weights) == trainable
    np.testing.assert_array_equal(again(noise(1, 4, 4, 2)), model(noise(1, 4, 4, 2)))


@pytest.mark.parametrize("size", [(7, 8), (6, 7, 8)])
def test_crop_at(size):
    x = noise(1, *size, 2)
    reference = np.zeros((1, *(n - 3 for n in size), 5), np.float32)
    found = CropAt(2)((x, reference))
    np.testing.assert_array_equal(found, x[(slice(None), *(slice(2, n - 1) for n in size))])


@pytest.mark.parametrize("size", [(6, 7), (6, 7, 8)])
def test_a_margin_before_a_padded_convolution_survives_the_graph_optimiser(size):
    """TensorFlow's own padding before a padded 3D convolution did not, with oneDNN."""
    inputs = keras.Input((*size, 1))
    padded = ZeroMargin(2, name="margin")(inputs)
    model = keras.Model(inputs, conv(padded, filters=2, name="c"))
    x = noise(1, *size, 1)
    in_graph = tf.function(model)(x)
    assert in_graph.shape == (1, *(n + 4 for n in size), 2)
    np.testing.assert_allclose(in_graph, model(x), atol=1e-5)
    margins = [(0, 0), *[(2, 2)] * len(size), (0, 0)]
    np.testing.assert_array_equal(ZeroMargin(2)(x), np.pad(x, margins))


@pytest.mark.parametrize(("size", "half"), [((6, 8), (3, 4)), ((4, 6, 8), (2, 3, 4))])
def test_half_the_size_takes_means_of_pairs(size, half):
    x = noise(1, *size, 1)
    pairs = x[0, ..., 0].reshape([part for n in half for part in (n, 2)])
    expected = pairs.mean(axis=tuple(range(1, 2 * len(size), 2)))
    np.testing.assert_allclose(LinearScale(0.5)(x)[0, ..., 0], expected, atol=1e-6)


@pytest.mark.parametrize("factor", [0.5, 0.75, 1.5])
def test_open_sizes_are_rounded_as_fixed_ones(factor):
    scale = LinearScale(factor)
    in_graph = tf.function(scale, input_signature=[tf.TensorSpec((1, None, None, 1))])
    for size in ((5, 7), (1, 9), (6, 10)):
        found = in_graph(noise(1, *size, 1))
        assert found.shape[1:-1] == scale.compute_output_shape((1, *size, 1))[1:-1]
        np.testing.assert_allclose(found, scale(noise(1, *size, 1)), atol=1e-6)
