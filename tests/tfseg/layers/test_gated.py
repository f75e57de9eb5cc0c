"""Concatenated ELU and gated residual blocks."""

import keras
import numpy as np
import pytest
from scipy.special import expit

from tfseg.layers import ConcatElu, gated_residual


def elu(x):
    return np.where(x > 0, x, np.expm1(x))


def test_concat_elu_doubles_the_channels():
    x = np.array([[0.0, 2.0, -1.0]], np.float32)
    expected = [[0, 2, np.expm1(-1), 0, np.expm1(-2), 1]]
    np.testing.assert_allclose(ConcatElu()(x), expected, atol=1e-6)
    assert ConcatElu().compute_output_shape((None, 4, 4, 3)) == (None, 4, 4, 6)


def gated(rank, with_skip):
    keras.utils.set_random_seed(0)
    x, skip = (keras.Input((4,) * rank + (channels,)) for channels in (3, 5))
    result = gated_residual(x, skip=skip if with_skip else None, norm="none", name="block")
    return keras.Model([x, skip] if with_skip else x, result)


def noise(rank, channels, seed):
    x = np.random.default_rng(seed).normal(size=(2, *(4,) * rank, channels))
    return x.astype(np.float32)


@pytest.mark.parametrize("rank", [2, 3])
def test_with_a_zero_gate_the_block_is_the_identity(rank):
    model = gated(rank, with_skip=False)
    layer = model.get_layer("block_2_conv")
    layer.set_weights([np.zeros(weight.shape) for weight in layer.weights])
    x = noise(rank, 3, 1)
    np.testing.assert_array_equal(model(x), x)


@pytest.mark.parametrize("rank", [2, 3])
def test_gate_and_skip_by_hand(rank):
    """Only the middle of the 3x3 kernels is left, so each voxel stands alone."""
    model = gated(rank, with_skip=True)
    middle = (1,) * rank
    kernels = {}
    for name in ("block_1_conv", "block_2_conv", "block_skip_conv"):
        kernel, bias = model.get_layer(name).get_weights()
        if "skip" not in name:
            kept = np.zeros_like(kernel)
            kept[middle] = kernel[middle]
            kernel = kept
        model.get_layer(name).set_weights([kernel, bias + 0.1])
        kernels[name] = kernel[middle if "skip" not in name else (0,) * rank]
    x, skip = noise(rank, 3, 1), noise(rank, 5, 2)
    h = elu(np.concatenate([x, -x], -1)) @ kernels["block_1_conv"] + 0.1
    h = h + elu(np.concatenate([skip, -skip], -1)) @ kernels["block_skip_conv"] + 0.1
    ab = elu(np.concatenate([h, -h], -1)) @ kernels["block_2_conv"] + 0.1
    expected = x + ab[..., :3] * expit(ab[..., 3:])
    np.testing.assert_allclose(model([x, skip]), expected, atol=1e-5)
