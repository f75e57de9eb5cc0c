"""Learned preprocessing and FC-ResNet: the preset's counts, what passes between the two."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from kit import counted

from tfseg.models import build
from tfseg.models.cost import params


def first_network(widths=(16, 32, 64, 128, 256)):
    """Two biased 3x3 convolutions a level, one before and one after each sum, 1x1 to 1."""
    total, channels = 0, 1
    for width in widths:
        total += 9 * channels * width + width + 9 * width * width + width
        channels = width
    for width in reversed(widths[:-1]):
        total += 9 * channels * width + width + 9 * width * width + width
        channels = width
    return total + channels + 1


def bottleneck(channels, filters):
    """Three convolutions without bias, each after a norm; 1x1 shortcut where channels change."""
    inner = filters // 4
    convs = channels * inner + 9 * inner * inner + inner * filters
    shortcut = channels * filters if channels != filters else 0
    return convs + shortcut + 2 * (channels + inner + inner)


def second_network(blocks=(3, 8, 10, 3)):
    total, channels = 9 * 1 * 32 + 32, 32
    for index, count in enumerate(blocks):
        for _ in range(count):
            total += bottleneck(channels, 64 * 2**index)
            channels = 64 * 2**index
    for filters in (256, 128, 64, 32):
        total += channels * filters + filters + bottleneck(filters, filters)
        channels = filters
    return total + 2 * 32 + 32 + 1


def test_preset():
    model = counted("fcn_preproc_resnet", (64, 64, 1), 1, faithful=True)
    normaliser = keras.Model(model.input, model.get_layer("normalised").output)
    assert params(normaliser) == first_network() == 1_766_497
    assert params(model) == first_network() + second_network() == 3_865_154
    assert sum(int(np.prod(weight.shape)) for weight in model.weights) == 3_881_634


@pytest.mark.parametrize("size", [(32, 48), (33, 47), (16, 17, 18)])
def test_the_image_between_has_one_channel_and_learns(size):
    options = {"base_filters": 2, "blocks": (1, 1), "norm": "batch"}
    model = build("fcn_preproc_resnet", (*size, 3), 2, **options)
    assert model.get_layer("normalised").output.shape == (None, *size, 1)
    assert model.output.shape == (None, *size, 2)
    with tf.GradientTape() as tape:
        total = tf.reduce_sum(model(tf.random.stateless_normal((1, *size, 3), (1, 2))) ** 2)
    gradient = tape.gradient(total, model.get_layer("normalised").kernel.value)
    assert np.any(gradient)
