"""Depthwise and separable convolutions."""

import keras
import numpy as np
import pytest
from scipy import ndimage

from tfseg.layers import DepthwiseConv3D, depthwise_conv, separable_conv


@pytest.mark.parametrize(("stride", "dilation"), [(1, 1), (2, 1), (1, 2)])
@pytest.mark.parametrize("size", [(5, 6, 7), (4, 4, 4)])
def test_3d_against_scipy(stride, dilation, size):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(2, *size, 3)).astype(np.float32)
    layer = DepthwiseConv3D(3, stride, dilation)
    layer.build(x.shape)
    kernel = rng.normal(size=(3, 3, 3, 3)).astype(np.float32)
    layer.set_weights([kernel])
    answer = layer(x).numpy()
    spread = np.zeros((*(2 * dilation + 1,) * 3, 3))
    spread[::dilation, ::dilation, ::dilation] = kernel
    for sample, channel in np.ndindex(2, 3):
        whole = ndimage.correlate(
            x[sample, ..., channel].astype(float), spread[..., channel], mode="constant"
        )
        np.testing.assert_allclose(
            answer[sample, ..., channel], whole[::stride, ::stride, ::stride], atol=1e-4
        )


@pytest.mark.parametrize("stride", [1, 2])
def test_2d_and_3d_are_the_same_convolution(stride):
    """A volume of one slice, and a kernel whose middle slice is the 2D kernel."""
    rng = np.random.default_rng(0)
    image = rng.normal(size=(1, 6, 6, 2)).astype(np.float32)
    flat_in = keras.Input((6, 6, 2))
    flat = keras.Model(flat_in, depthwise_conv(flat_in, stride=stride, name="d"))
    deep_in = keras.Input((1, 6, 6, 2))
    deep = keras.Model(deep_in, depthwise_conv(deep_in, stride=stride, name="d"))
    kernel = rng.normal(size=(3, 3, 2, 1)).astype(np.float32)
    flat.set_weights([kernel])
    cube = np.zeros((3, 3, 3, 2), np.float32)
    cube[1] = kernel[..., 0]
    deep.set_weights([cube])
    np.testing.assert_allclose(deep(image[:, None])[:, 0], flat(image), atol=1e-5)


@pytest.mark.parametrize(("rank", "count"), [(2, 9 * 4 + 4 * 8), (3, 27 * 4 + 4 * 8)])
def test_parameters(rank, count):
    inputs = keras.Input((None,) * rank + (4,))
    model = keras.Model(inputs, separable_conv(inputs, filters=8, norm="none", name="s"))
    assert model.count_params() == count + 8  # the bias of the 1x1 convolution
    assert model.output_shape == (None,) * (rank + 1) + (8,)
