"""SegNet and SegNet-Basic: counts, what the masks keep."""

import keras
import numpy as np
import pytest
from kit import counted

from tfseg.errors import ConfigError
from tfseg.models import build
from tfseg.models.cost import params

ENCODER = (64, 64, 128, 128, 256, 256, 256, 512, 512, 512, 512, 512, 512)
DECODER = (512, 512, 512, 512, 512, 256, 256, 256, 128, 128, 64, 64)


def expected(classes):
    """26 convolutions with bias; a norm after each but the last."""
    total, channels = 0, 3
    for filters in (*ENCODER, *DECODER):
        total += 9 * channels * filters + filters + 2 * filters
        channels = filters
    return total + 9 * 64 * classes + classes


@pytest.mark.parametrize(
    ("classes", "parameters"),
    [(11, 29_449_355), (12, 29_449_932), (2, 29_444_162), (21, 29_455_125)],
)
def test_paper_form(classes, parameters):
    model = counted("segnet", (224, 224, 3), classes, faithful=True)
    assert params(model) == expected(classes) == parameters
    convs = [layer for layer in model.layers if isinstance(layer, keras.layers.Conv2D)]
    assert tuple(layer.filters for layer in convs) == (*ENCODER, *DECODER, classes)
    assert model.get_layer("vgg16_stage5_pool").output[0].shape == (None, 7, 7, 512)
    assert model.output.shape == (None, 224, 224, classes)


def test_basic():
    """Four 7x7 layers of 64 channels each way, without bias, and a 1x1 classifier."""
    model = counted("segnet_basic", (352, 480, 3), 11, faithful=True)
    layers = 49 * 3 * 64 + 7 * 49 * 64 * 64 + 8 * 2 * 64
    assert params(model) == layers + 64 * 11 + 11
    assert not any(
        layer.name.startswith("decoder") and "act" in layer.name for layer in model.layers
    )


@pytest.mark.parametrize(("name", "size"), [("segnet", (32, 24)), ("segnet_basic", (16, 8, 16))])
def test_unpooling_puts_each_value_where_the_maximum_was(name, size):
    model = build(name, (*size, 1), 2, base_filters=2, stages=3)
    prefix = "vgg16_stage1" if name == "segnet" else "encoder_stage1"
    last = "2" if name == "segnet" else "1"
    before = model.get_layer(f"{prefix}_{last}_act").output
    inputs = model.get_layer("decoder1_unpool").input[0]
    outputs = model.get_layer("decoder1_unpool").output
    x = np.random.default_rng(0).normal(size=(1, *size, 1)).astype(np.float32)
    fine, values, unpooled = (
        a.numpy()[0] for a in keras.Model(model.input, [before, inputs, outputs])(x)
    )
    for cell in np.ndindex(values.shape[:-1]):
        window = tuple(slice(2 * c, 2 * c + 2) for c in cell)
        for channel in range(fine.shape[-1]):
            block = fine[(*window, channel)]
            kept = np.zeros_like(block)
            kept.flat[np.argmax(block)] = values[(*cell, channel)]
            np.testing.assert_array_equal(unpooled[(*window, channel)], kept)


@pytest.mark.parametrize("name", ["segnet", "segnet_basic", "deconvnet"])
def test_sizes_that_the_poolings_do_not_divide_are_refused(name):
    with pytest.raises(
        ConfigError, match=r"divisible by \(16, 16\); got \(48, 50\)\. Use \(48, 64"
    ):
        counted(name, (48, 50, 1), 2)
