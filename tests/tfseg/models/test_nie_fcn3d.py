"""Nie's FCN with convolved skips: counts of the preset, fusion of modalities."""

import keras
import numpy as np
import pytest
from kit import counted

from tfseg.models import build
from tfseg.models.cost import params


def cbr(channels, filters, kernel=27):
    """3x3x3 convolution without bias, and batch normalisation."""
    return kernel * channels * filters + 2 * filters


def preset(transform):
    """Three levels of 32, 64, 128 on 3 channels, to 4 classes."""
    encoder = sum(cbr(a, b) + cbr(b, b) for a, b in ((3, 32), (32, 64), (64, 128)))
    decoder = sum(8 * 2 * f * f + f + cbr(2 * f, f) + cbr(f, f) for f in (64, 32))
    return encoder + decoder + transform * sum(cbr(f, f) for f in (64, 32)) + 32 * 4 + 4


def test_preset():
    model = counted("nie_fcn3d", (32, 32, 32, 3), 4, faithful=True)
    assert params(model) == preset(transform=True) == 1_496_260
    assert sum(int(np.prod(w.shape)) for w in model.weights) == 1_497_732
    assert model.output.shape == (None, 32, 32, 32, 4)


def test_without_transform_it_is_the_critic_of_asdnet():
    model = counted("nie_fcn3d", (32, 32, 32, 5), 1, faithful=True, transform=False)
    # Two channels more in, three classes fewer out than the preset.
    assert params(model) == preset(transform=False) + 2 * 27 * 32 - 3 * 33 == 1_359_457


@pytest.mark.parametrize("size", [(16, 16), (8, 8, 8)])
def test_branches_have_an_encoder_for_each_modality(size):
    model = counted("nie_fcn3d", (*size, 3), 2, base_filters=4, fusion="branch")
    starts = [layer for layer in model.layers if layer.name.endswith("encoder0_1_conv")]
    assert [layer.input.shape[-1] for layer in starts] == [1, 1, 1]
    assert model.get_layer("fusion0").output.shape[-1] == 3 * 4
    alone = counted("nie_fcn3d", (*size, 1), 2, base_filters=4, fusion="branch")
    assert params(alone) == params(counted("nie_fcn3d", (*size, 1), 2, base_filters=4))


def test_a_branch_sees_its_own_modality_only():
    model = build("nie_fcn3d", (8, 8, 2), 2, base_filters=2, fusion="branch", norm="none")
    first = keras.Model(model.input, model.get_layer("channel1_encoder2_2_act").output)
    x = np.random.default_rng(0).normal(size=(1, 8, 8, 2)).astype(np.float32)
    other = x.copy()
    other[..., 1] += 3
    np.testing.assert_array_equal(first(x), first(other))
    assert not np.allclose(model(x), model(other))
