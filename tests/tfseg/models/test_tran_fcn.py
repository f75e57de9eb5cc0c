"""Tran's cardiac FCN: the author's counts and sizes."""

import numpy as np
import pytest
from kit import counted

from tfseg.models import build
from tfseg.models.cost import params


def test_paper_form():
    """110 -> 54 -> 26 -> 12 by pooling 3/2; 25, 51, 103 back; no weights in the norms."""
    model = counted("tran_fcn", (100, 100, 1), 1, faithful=True)
    widths, convs = (64, 128, 256, 512), (3, 4, 4, 4)
    total, channels = 0, 1
    for width, count in zip(widths, convs, strict=True):
        for _ in range(count):
            total += 9 * channels * width + width
            channels = width
    total += (512 + 1) + (256 + 1) + (128 + 1) + 3 * 9 + (1 + 1)
    assert params(model) == total == 10_917_024
    sizes = [model.get_layer(name).output.shape[1] for name in ("pad", "pool1", "pool2", "pool3")]
    assert sizes == [110, 54, 26, 12]
    assert [model.get_layer(f"up{k}").output.shape[1] for k in (3, 2, 1)] == [25, 51, 103]
    assert model.output.shape == (None, 100, 100, 1)


@pytest.mark.parametrize("size", range(5, 40))
def test_every_size_from_5_on_comes_back(size):
    model = counted("tran_fcn", (size, 41, 1), 2, base_filters=1)
    assert model.output.shape == (None, size, 41, 2)


@pytest.mark.parametrize("size", [(24, 24), (16, 16, 16)])
def test_the_paper_form_ignores_brightness_and_contrast(size):
    """Its first step makes mean 0 and variance 1 of any image."""
    model = build("tran_fcn", (*size, 1), 2, faithful=True, base_filters=2)
    x = np.random.default_rng(0).normal(size=(1, *size, 1)).astype(np.float32)
    np.testing.assert_allclose(model(x), model(50 * x + 7), atol=2e-3)
