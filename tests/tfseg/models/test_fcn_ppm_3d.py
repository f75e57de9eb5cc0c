"""FCN with pyramid pooling: the preset's count, the pyramid's size."""

import math

import pytest
from kit import counted

from tfseg.models.cost import params


def cbr(channels, filters, kernel=27):
    """Convolution without bias, and batch normalisation."""
    return kernel * channels * filters + 2 * filters


def test_preset():
    model = counted("fcn_ppm_3d", (24, 24, 24, 1), 3, faithful=True)
    encoder = sum(cbr(a, b) + cbr(b, b) for a, b in ((1, 32), (32, 64), (64, 128)))
    pyramid = 4 * cbr(128, 32, kernel=1) + cbr(256, 128)
    decoder = sum(8 * 2 * f * f + f + cbr(2 * f, f) + cbr(f, f) for f in (64, 32))
    assert params(model) == encoder + pyramid + decoder + 32 * 3 + 3 == 2_257_699
    assert sum(math.prod(weight.shape) for weight in model.weights) == 2_259_491


@pytest.mark.parametrize("size", [(24, 24, 24), (28, 32, 24), (32, 48)])
def test_the_pyramid_keeps_the_size_and_doubles_the_channels(size):
    model = counted("fcn_ppm_3d", (*size, 1), 3)
    quarter = tuple(n // 4 for n in size)
    assert model.get_layer("encoder2_2_act").output.shape == (None, *quarter, 128)
    assert model.get_layer("pyramid_concat").output.shape == (None, *quarter, 128 * (1 + 4 // 4))
    assert model.output.shape == (None, *size, 3)
