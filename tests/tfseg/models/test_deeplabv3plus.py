"""DeepLab v3+: counts of five forms, sizes, where the fine map comes from."""

import pytest
from kit import counted

from tfseg.models.cost import params

TRUNKS = {"resnet50": 23_508_032, "resnet101": 42_500_160, "xception65": 37_867_312}


def head(separable, fine=256):
    """Pyramid, projection, 48-channel fine map, decoder, 21 classes."""

    def conv(channels, filters, kernel=1):
        return kernel * channels * filters + 2 * filters

    def atrous(channels):
        if separable:
            return 9 * channels + 2 * channels + conv(channels, 256)
        return conv(channels, 256, 9)

    pyramid = 2 * conv(2048, 256) + 3 * atrous(2048) + conv(1280, 256)
    return pyramid + conv(fine, 48) + atrous(304) + atrous(256) + 256 * 21 + 21


@pytest.mark.parametrize(
    ("backbone", "separable", "parameters"),
    [
        ("resnet50", False, 40_352_181),
        ("resnet50", True, 26_696_133),
        ("resnet101", False, 59_344_309),
        ("resnet101", True, 45_688_261),
        ("xception65", True, 41_055_413),
    ],
)
def test_paper_forms(backbone, separable, parameters):
    model = counted(
        "deeplabv3plus", (512, 512, 3), 21, faithful=True, backbone=backbone, separable=separable
    )
    assert params(model) == TRUNKS[backbone] + head(separable) == parameters
    assert model.get_layer("aspp_concat").output.shape == (None, 32, 32, 1280)
    assert model.get_layer("decoder_concat").output.shape == (None, 128, 128, 304)
    assert model.output.shape == (None, 512, 512, 21)


@pytest.mark.parametrize("backbone", ["vgg16", "densenet121", "xception", "resnet18"])
def test_every_kind_of_encoder_has_a_fine_map(backbone):
    model = counted("deeplabv3plus", (64, 64, 1), 2, base_filters=4, backbone=backbone)
    assert model.get_layer("fine_act").output.shape == (None, 32, 32, 3)
