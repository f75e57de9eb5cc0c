"""Upsampling by repeated voxels."""

import keras
import numpy as np
import pytest

from tfseg.layers import nearest_upsample


@pytest.mark.parametrize(
    ("size", "factor"), [((3, 4), 2), ((3, 4), (1, 2)), ((2, 3, 4), 2), ((2, 3, 4), (1, 2, 2))]
)
def test_every_voxel_is_repeated(size, factor):
    inputs = keras.Input((*size, 2))
    model = keras.Model(inputs, nearest_upsample(inputs, factor=factor, name="up"))
    x = np.random.default_rng(0).normal(size=(2, *size, 2)).astype(np.float32)
    expected = x
    factors = (factor,) * len(size) if isinstance(factor, int) else factor
    for axis, times in enumerate(factors):
        expected = np.repeat(expected, times, axis + 1)
    np.testing.assert_array_equal(model(x), expected)
