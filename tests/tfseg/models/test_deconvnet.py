"""DeconvNet: the count and sizes of the public model."""

import itertools

import pytest
from kit import counted

from tfseg.errors import ConfigError
from tfseg.models.cost import params


def normed(channels, filters, kernel=9):
    """Convolution with bias, gain and shift."""
    return kernel * channels * filters + filters + 2 * filters


def test_paper_form():
    model = counted("deconvnet", (224, 224, 3), 21, faithful=True)
    encoder = 14_714_688 + 2 * 4224  # VGG-16's convolutions, and norms of all its channels
    middle = normed(512, 4096, 49) + normed(4096, 4096, 1) + normed(4096, 512, 49)
    widths = (512, 512, 512, 512, 512, 512, 256, 256, 256, 128, 128, 64, 64, 64)
    decoder = sum(normed(a, b) for a, b in itertools.pairwise(widths))
    assert params(model) == encoder + middle + decoder + 64 * 21 + 21 == 251_805_653
    sizes = [model.get_layer(name).output.shape[1] for name in ("fc6_act", "fc7_act")]
    assert sizes == [1, 1]
    assert model.get_layer("fc6_transposed_act").output.shape == (None, 7, 7, 512)
    assert model.output.shape == (None, 224, 224, 21)


@pytest.mark.parametrize("padding", ["same", "valid"])
@pytest.mark.parametrize("size", [(112, 64), (48, 64, 48)])
def test_what_fc6_takes_its_transpose_gives_back(padding, size):
    model = counted("deconvnet", (*size, 1), 2, base_filters=2, padding=padding)
    quarter = tuple(n // 16 for n in size)
    assert model.get_layer("fc6_transposed_act").output.shape == (None, *quarter, 16)
    inner = quarter if padding == "same" else tuple(n - 2 for n in quarter)
    assert model.get_layer("fc6_act").output.shape[1:-1] == inner


def test_an_image_that_fc6_would_use_up_is_refused():
    with pytest.raises(
        ConfigError, match=r"kernel 7 needs an input of 224 or more .* \(224, 192\)"
    ):
        counted("deconvnet", (224, 192, 1), 2, faithful=True)
