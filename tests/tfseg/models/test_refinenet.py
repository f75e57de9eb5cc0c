"""RefineNet: counts of the paper's and the published form, sizes, its units."""

import keras
import numpy as np
import pytest
from kit import counted
from scipy import ndimage

from tfseg.models import build
from tfseg.models.cost import params


def conv(channels, filters):
    """3x3 with bias."""
    return 9 * channels * filters + filters


def decoder(classes, chain):
    """Adaptation, two units a path, fusion of two paths, chain, unit; then two units."""
    total = sum(conv(c, f) for c, f in ((2048, 512), (1024, 256), (512, 256), (256, 256)))
    paths = [[512], [256, 512], [256, 256], [256, 256]]
    for widths in paths:
        total += sum(4 * conv(width, width) for width in widths)
        filters = widths[0]
        if len(widths) > 1:
            total += sum(conv(width, filters) for width in widths)
        total += (chain + 2) * conv(filters, filters)
    return total + 4 * conv(256, 256) + conv(256, classes)


@pytest.mark.parametrize(
    ("backbone", "trunk", "chain", "parameters"),
    [
        ("resnet101", 42_500_160, 2, 109_806_677),
        ("resnet101", 42_500_160, 4, 118_066_773),
        ("resnet50", 23_508_032, 2, 90_814_549),
    ],
)
def test_paper_forms(backbone, trunk, chain, parameters):
    model = counted(
        "refinenet", (512, 512, 3), 21, faithful=True, backbone=backbone, crp_stages=chain
    )
    assert params(model) == trunk + decoder(21, chain) == parameters
    assert model.get_layer("logits_coarse").output.shape == (None, 128, 128, 21)
    assert model.output.shape == (None, 512, 512, 21)


def test_chained_pooling_takes_maxima_of_ever_wider_windows():
    """With convolutions that change nothing: x + max over 5x5 + max over 9x9."""
    model = build(
        "refinenet", (64, 64, 1), 2, base_filters=1, head_factor=1, norm="none", dropout=0
    )
    for number in (1, 2):
        layer = model.get_layer(f"refine4_chain_conv{number}")
        layer.set_weights([np.ones((3, 3, 1, 1)) * _centre(), np.zeros(1)])
    before, after = (model.get_layer(f"refine4_chain_{part}").output for part in ("act", "sum"))
    x = np.random.default_rng(0).normal(size=(1, 64, 64, 1)).astype(np.float32)
    first, total = keras.Model(model.input, [before, after])(x)
    first, total = first[0, ..., 0].numpy(), total[0, ..., 0].numpy()
    widest = [ndimage.maximum_filter(first, size, mode="constant", cval=-1e9) for size in (5, 9)]
    np.testing.assert_allclose(total, first + widest[0] + widest[1], atol=1e-4)


def _centre():
    kernel = np.zeros((3, 3, 1, 1))
    kernel[1, 1] = 1
    return kernel
