"""DeepLab v2: the paper's counts in both forms, the pyramid's sum, several image scales."""

import keras
import numpy as np
import pytest
from kit import counted

from tfseg.models import build
from tfseg.models.cost import params


def test_paper_form():
    model = counted("deeplabv2", (321, 321, 3), 21, faithful=True)
    assert params(model) == 42_500_160 + 4 * (9 * 2048 * 21 + 21) == 44_048_532
    assert model.get_layer("scores").output.shape == (None, 41, 41, 21)
    rates = [model.get_layer(f"rate{rate}").dilation_rate for rate in (6, 12, 18, 24)]
    assert rates == [(6, 6), (12, 12), (18, 18), (24, 24)]


def test_vgg_form():
    """Each branch has a fc6, fc7 and fc8 of its own."""
    model = counted(
        "deeplabv2", (321, 321, 3), 21,
        faithful=True, backbone="vgg16", norm="none", branch_factor=16,
    )  # fmt: skip
    branch = (9 * 512 * 1024 + 1024) + (1024 * 1024 + 1024) + (1024 * 21 + 21)
    assert params(model) == 14_714_688 + 4 * branch == 37_877_652


def test_the_branches_are_summed():
    model = build("deeplabv2", (32, 32, 1), 3, base_filters=2, rates=(1, 4))
    x = np.random.default_rng(0).normal(size=(1, 32, 32, 1)).astype(np.float32)
    parts = [model.get_layer(f"rate{rate}").output for rate in (1, 4)]
    *found, scores = keras.Model(model.input, [*parts, model.get_layer("scores").output])(x)
    np.testing.assert_allclose(scores, found[0] + found[1], atol=1e-5)


@pytest.mark.parametrize("size", [(32, 40), (16, 24, 16)])
def test_scales_share_their_weights_and_the_largest_score_counts(size):
    options = {"base_filters": 2, "norm": "none"}
    single = build("deeplabv2", (*(None,) * len(size), 1), 2, **options)
    several = build("deeplabv2", (*(None,) * len(size), 1), 2, scales=(1.0, 0.5), **options)
    several.set_weights(single.get_weights())
    x = np.random.default_rng(0).normal(size=(1, *size, 1)).astype(np.float32)
    coarse = keras.Model(single.input, single.get_layer("scores").output)
    # At half the size, a linear resize with half-pixel centres takes means of pairs.
    half = x[0, ..., 0]
    for axis in range(len(size)):
        half = np.moveaxis(half, axis, 0)
        half = np.moveaxis((half[::2] + half[1::2]) / 2, 0, axis)
    fine, doubled = coarse(x)[0].numpy(), coarse(half[np.newaxis, ..., np.newaxis])[0].numpy()
    for axis in range(len(size)):
        doubled = _double(doubled, axis)
    expected = np.maximum(fine, doubled)
    found = keras.Model(several.input, several.get_layer("largest").output)(x)[0]
    np.testing.assert_allclose(found, expected, atol=1e-5)


def _double(array, axis):
    """Linear interpolation to twice the voxels: 3/4 of the nearest, 1/4 of the next one."""
    array = np.moveaxis(array, axis, 0)
    before = np.concatenate([array[:1], array[:-1]])
    after = np.concatenate([array[1:], array[-1:]])
    pairs = np.stack([0.75 * array + 0.25 * before, 0.75 * array + 0.25 * after], 1)
    return np.moveaxis(pairs.reshape(-1, *array.shape[1:]), 0, axis)
