"""Attention-guided U-Net: preset counts, and that the box hides what lies outside."""

import keras
import numpy as np
import pytest

from tfseg.models import build


def without_numbers(*args, **options):
    """Build shapes only: counting needs no memory for the weights."""
    with keras.StatelessScope(initialize_variables=False):
        return build("attn_guided_unet", *args, **options)


def trainable(model):
    return sum(int(np.prod(weight.shape)) for weight in model.trainable_weights)


def test_preset():
    model = without_numbers((32, 32, 3), 1, faithful=True)
    assert trainable(model) == 8_185_349
    assert model.count_params() == 8_192_197
    regressor = [layer for layer in model.layers if layer.name.startswith("box")]
    weights = [weight for layer in regressor for weight in layer.trainable_weights]
    # 3x3 convolutions 3-32-64-128-256 with batch norm, dense 256-128-4.
    kernels = 9 * (3 * 32 + 32 * 64 + 64 * 128 + 128 * 256) + 2 * (32 + 64 + 128 + 256)
    assert kernels + 256 * 128 + 128 + 128 * 4 + 4 == 422_308
    assert sum(int(np.prod(weight.shape)) for weight in weights) == 422_308


def small(rank):
    keras.utils.set_random_seed(0)
    return build("attn_guided_unet", (32,) * rank + (1,), 2, base_filters=2, depth=2, norm="none")


def part_of(model, name, x):
    return np.asarray(keras.Model(model.input, model.get_layer(name).output)(x))


@pytest.mark.parametrize("rank", [2, 3])
def test_a_new_network_sees_nearly_the_whole_image(rank):
    x = np.zeros((1, *(32,) * rank, 1), np.float32)
    model = small(rank)
    expected = [0.5] * rank + [1 / (1 + np.exp(-2.0))] * rank
    np.testing.assert_allclose(part_of(model, "box", x)[0], expected, atol=1e-6)
    # 32 voxels, faces at 1.9 and 30.1: everything from 4 voxels inside is there.
    mask = part_of(model, "mask", x)[(0, *(slice(4, 28),) * rank)]
    assert mask.min() > 0.85


@pytest.mark.parametrize("rank", [2, 3])
def test_what_lies_outside_the_box_is_not_seen(rank):
    model = small(rank)
    kernel, bias = model.get_layer("box").get_weights()
    # A box in the middle, a quarter of the image long: sigmoid(-1.0986) = 0.25.
    bias[rank:] = -np.log(3)
    model.get_layer("box").set_weights([np.zeros_like(kernel), bias])
    x = np.random.default_rng(0).normal(size=(1, *(32,) * rank, 1)).astype(np.float32)
    outside, inside = x.copy(), x.copy()
    outside[(0, *(slice(0, 4),) * rank)] += 5
    inside[(0, *(slice(15, 17),) * rank)] += 5
    expected = model(x)
    np.testing.assert_allclose(model(outside), expected, atol=1e-4)
    assert np.abs(model(inside) - expected).max() > 0.05
    mask = part_of(model, "mask", x)
    assert mask[(0, *(16,) * rank, 0)] > 0.9 ** (2 * rank)
    assert mask[(0, *(4,) * rank, 0)] < 0.01
