"""Dense-U-Net: the preset's count and what a level hands on."""

import keras
import numpy as np
import pytest

from tfseg.models import build


def without_numbers(*args, **options):
    with keras.StatelessScope(initialize_variables=False):
        return build("dense_unet3d", *args, **options)


def trainable(model):
    return sum(int(np.prod(weight.shape)) for weight in model.trainable_weights)


def level(channels, filters):
    """Parameters of two interconnected 3x3x3 convolutions with biases."""
    return 27 * (channels + channels + filters) * filters + 2 * filters


def test_preset():
    model = without_numbers((64, 64, 64, 1), 1, faithful=True)
    assert model.output_shape == (None, 64, 64, 64, 1)
    assert trainable(model) == 10_734_146


def test_the_preset_by_hand():
    total, channels, skips = 0, 1, []
    for filters in (32, 64, 128, 256):
        total += level(channels, filters)
        channels += filters
        skips.append(channels)
    for filters, skip in zip((128, 64, 32), reversed(skips[:-1]), strict=True):
        total += 8 * channels * filters + filters
        channels = skip + filters
        total += level(channels, filters)
        channels += filters
    assert total + channels + 1 == 10_734_146


@pytest.mark.parametrize("rank", [2, 3])
def test_a_level_hands_on_its_input_and_f_channels_more(rank):
    model = without_numbers((None,) * rank + (3,), 2, base_filters=8)
    widths = [model.get_layer(f"encoder{index}_outer").output.shape[-1] for index in range(4)]
    assert widths == [3 + 8, 3 + 8 + 16, 3 + 8 + 16 + 32, 3 + 8 + 16 + 32 + 64]
    # Upward: f upsampled channels, the skip's, and f more.
    assert model.get_layer("decoder2_outer").output.shape[-1] == 32 + (3 + 8 + 16 + 32) + 32


def test_the_second_convolution_sees_the_levels_input_too():
    model = without_numbers((None, None, 3), 2, base_filters=8)
    assert model.get_layer("encoder0_2_conv").input.shape[-1] == 3 + 8
