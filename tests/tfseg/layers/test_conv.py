"""Convolutions: sizes by formula, values against SciPy."""

import keras
import numpy as np
import pytest
from scipy import ndimage

from tfseg.errors import ConfigError
from tfseg.layers import conv, conv_norm_act, downsample, transposed_conv
from tfseg.layers.conv import activate


@pytest.mark.parametrize("size", [8, 9, 13])
@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("kernel", [1, 3, 7])
@pytest.mark.parametrize("rank", [2, 3])
def test_output_sizes(rank, kernel, stride, size):
    def out(padding):
        inputs = keras.Input((size,) * rank + (2,))
        return conv(
            inputs, filters=3, kernel=kernel, stride=stride, padding=padding, name="c"
        ).shape[1:]

    margin = (kernel - 1) // 2
    assert out("same") == (-(-size // stride),) * rank + (3,)
    assert out("symmetric") == ((size + 2 * margin - kernel) // stride + 1,) * rank + (3,)
    if size >= kernel:
        assert out("valid") == ((size - kernel) // stride + 1,) * rank + (3,)


@pytest.mark.parametrize("size", [8, 9])
@pytest.mark.parametrize("rank", [2, 3])
def test_symmetric_padding_samples_the_same_places_whatever_the_parity(rank, size):
    """A strided symmetric convolution is the unstrided one at every second voxel."""
    x = np.random.default_rng(0).normal(size=(1, *(size,) * rank, 1)).astype(np.float32)
    inputs = keras.Input(x.shape[1:])
    strided = keras.Model(
        inputs, conv(inputs, filters=1, stride=2, padding="symmetric", bias=False, name="c")
    )
    kernel = strided.get_layer("c").get_weights()[0][..., 0, 0]
    full = ndimage.correlate(x[0, ..., 0].astype(np.float64), kernel, mode="constant")
    every_second = full[(slice(None, None, 2),) * rank]
    np.testing.assert_allclose(strided(x)[0, ..., 0], every_second, atol=1e-5)


@pytest.mark.parametrize("padding", ["same", "valid", "symmetric"])
@pytest.mark.parametrize("size", [(8, 7), (8, 7, 6)])
def test_a_strided_point_convolution_sees_every_second_voxel(size, padding):
    """And no layer both has stride and kernel 1, whose oneDNN gradient corrupts memory."""
    inputs = keras.Input((*size, 3))
    outputs = conv(inputs, filters=4, kernel=1, stride=2, padding=padding, name="c")
    model = keras.Model(inputs, outputs)
    assert set(model.get_layer("c").strides) == {1}
    x = np.random.default_rng(0).normal(size=(1, *size, 3)).astype(np.float32)
    kernel = model.get_layer("c").get_weights()[0].reshape(3, 4)
    places = (slice(None), *(slice(None, None, 2) for _ in size))
    np.testing.assert_allclose(model(x), x[places] @ kernel, atol=1e-5)


@pytest.mark.parametrize("dilation", [2, 4])
def test_dilation_keeps_the_size_and_spreads_the_taps(dilation):
    x = np.zeros((1, 17, 17, 1), np.float32)
    x[0, 8, 8] = 1
    inputs = keras.Input(x.shape[1:])
    out = conv(inputs, filters=1, dilation=dilation, padding="symmetric", bias=False, name="c")
    model = keras.Model(inputs, out)
    model.get_layer("c").set_weights([np.ones((3, 3, 1, 1))])
    seen = np.argwhere(model(x)[0, ..., 0].numpy() > 0)
    expected = [(8 + dilation * i, 8 + dilation * j) for i in (-1, 0, 1) for j in (-1, 0, 1)]
    assert [tuple(place) for place in seen] == expected


@pytest.mark.parametrize("stride", [2, (1, 2, 2), (3, 1, 2)])
def test_transposed_convolution_multiplies_the_size(stride):
    steps = (stride,) * 3 if isinstance(stride, int) else stride
    out = transposed_conv(keras.Input((4, 5, 6, 2)), filters=3, stride=stride, name="t")
    assert out.shape == (None, 4 * steps[0], 5 * steps[1], 6 * steps[2], 3)


def test_transposed_convolution_gives_every_voxel_its_own_block():
    x = np.zeros((1, 3, 3, 1), np.float32)
    x[0, 1, 2] = 1
    inputs = keras.Input(x.shape[1:])
    model = keras.Model(inputs, transposed_conv(inputs, filters=1, stride=2, name="t"))
    model.get_layer("t").set_weights([np.ones((2, 2, 1, 1)), np.zeros(1)])
    filled = np.argwhere(model(x)[0, ..., 0].numpy())
    assert filled.tolist() == [[2, 4], [2, 5], [3, 4], [3, 5]]


@pytest.mark.parametrize("rank", [2, 3])
@pytest.mark.parametrize("extent", [7, 8])
def test_overlapping_max_pooling_ignores_its_margin(rank, extent):
    """Below 0 everywhere, as a leaky ReLU may leave it: padding must never be the maximum."""
    x = -1 - np.random.default_rng(0).random((1, *(extent,) * rank, 1)).astype(np.float32)
    inputs = keras.Input(x.shape[1:])
    model = keras.Model(inputs, downsample(inputs, stride=2, size=3, name="p"))
    expected = ndimage.maximum_filter(x[0, ..., 0], 3, mode="constant", cval=-np.inf)
    np.testing.assert_array_equal(model(x)[0, ..., 0], expected[(slice(None, None, 2),) * rank])


def test_max_pooling_by_blocks():
    x = np.arange(2 * 4 * 6, dtype=np.float32).reshape(1, 2, 4, 6, 1)
    inputs = keras.Input(x.shape[1:])
    model = keras.Model(inputs, downsample(inputs, stride=(1, 2, 3), name="p"))
    blocks = x[0, ..., 0].reshape(2, 1, 2, 2, 2, 3)
    np.testing.assert_array_equal(model(x)[0, ..., 0], blocks.max((1, 3, 5)))


@pytest.mark.parametrize(
    ("norm", "biased"), [("none", True), ("batch", False), ("instance", False)]
)
def test_a_bias_stands_only_where_no_norm_follows(norm, biased):
    inputs = keras.Input((4, 4, 2))
    model = keras.Model(inputs, conv_norm_act(inputs, filters=3, norm=norm, name="b"))
    assert model.get_layer("b_conv").use_bias is biased


@pytest.mark.parametrize(("kind", "below"), [("relu", 0.0), ("leaky_relu", -0.02)])
def test_activations(kind, below):
    x = keras.ops.array([[-2.0, 3.0]])
    np.testing.assert_allclose(activate(x, kind=kind, name="a"), [[below, 3.0]], rtol=1e-6)


def test_unknown_activation_is_refused():
    with pytest.raises(
        ConfigError,
        match="one of relu, leaky_relu, prelu, elu, relu6, tanh, sigmoid, none; got 'swish'",
    ):
        activate(keras.Input((4,)), kind="swish", name="a")


@pytest.mark.parametrize("stride", [(2, 2), (2, 0, 2), 0])
def test_sizes_that_fit_no_rank_are_refused(stride):
    with pytest.raises(ConfigError, match="one or 3 positive integers; got"):
        downsample(keras.Input((4, 4, 4, 1)), stride=stride, name="p")
