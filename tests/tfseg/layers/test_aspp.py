"""Atrous spatial pyramid pooling against its parts."""

import keras
import numpy as np
import pytest
from scipy import ndimage

from tfseg.layers import aspp


def built(size, channels=2, **options):
    inputs = keras.Input((*size, channels))
    options = {"rates": (1, 2), "filters": 3, "norm": "none", "activation": "none", **options}
    return keras.Model(inputs, aspp(inputs, name="a", **options))


@pytest.mark.parametrize("size", [(7, 8), (5, 6, 7)])
def test_branches_side_by_side(size):
    model = built(size)
    x = np.random.default_rng(0).normal(size=(1, *size, 2)).astype(np.float32)
    found = model(x).numpy()[0]
    assert found.shape == (*size, 4 * 3)
    point = model.get_layer("a_point_conv").get_weights()[0].reshape(2, 3)
    np.testing.assert_allclose(found[..., :3], x[0] @ point, atol=1e-5)
    image = model.get_layer("a_image_conv").get_weights()[0].reshape(2, 3)
    mean = x[0].reshape(-1, 2).mean(0) @ image
    np.testing.assert_allclose(found[..., 9:], np.broadcast_to(mean, (*size, 3)), atol=1e-5)
    for start, rate in ((3, 1), (6, 2)):
        kernel = model.get_layer(f"a_rate{rate}_conv").get_weights()[0]
        spread = np.zeros((*(2 * rate + 1,) * len(size), 2, 3))
        spread[(slice(None, None, rate),) * len(size)] = kernel
        for out in range(3):
            total = sum(
                ndimage.correlate(x[0, ..., c], spread[..., c, out], mode="constant")
                for c in range(2)
            )
            np.testing.assert_allclose(found[..., start + out], total, atol=1e-4)


def test_instance_norm_leaves_the_image_mean_alone():
    """It would erase it: one voxel has no variance."""
    names = [layer.name for layer in built((6, 6), norm="instance").layers]
    assert "a_rate1_norm" in names
    assert "a_image_norm" not in names
    assert "a_image_norm" in [layer.name for layer in built((6, 6), norm="batch").layers]


def test_separable_branches_have_fewer_weights():
    plain, separable = (built((6, 6), channels=8, separable=flag) for flag in (False, True))
    assert plain.count_params() - separable.count_params() == 2 * (9 * 8 * 3 - (9 * 8 + 8 * 3))
