"""DeepLab v1: the paper's count and sizes."""

import pytest
from kit import counted

from tfseg.models.cost import params

TRUNK = 14_714_688  # VGG-16's convolutions


def test_paper_form():
    model = counted("deeplabv1", (321, 321, 3), 21, faithful=True)
    fc6, fc7, fc8 = 9 * 512 * 1024 + 1024, 1024 * 1024 + 1024, 1024 * 21 + 21
    assert params(model) == TRUNK + fc6 + fc7 + fc8 == 20_505_429
    assert model.get_layer("fc6_conv").dilation_rate == (12, 12)
    assert model.get_layer("vgg16_stage5_1_conv").dilation_rate == (2, 2)
    assert model.get_layer("logits_coarse").output.shape == (None, 41, 41, 21)
    assert model.output.shape == (None, 321, 321, 21)


@pytest.mark.parametrize(("kernel", "parameters"), [(7, 134_346_581), (4, 65_140_565)])
def test_the_other_fields_of_view(kernel, parameters):
    """4096 channels, dilation 4: 134.3 M and 65.1 M in the paper's table 2."""
    model = counted(
        "deeplabv1", (321, 321, 3), 21,
        faithful=True, fc_kernel=kernel, fc_rate=4, fc_factor=64,
    )  # fmt: skip
    fc6 = kernel**2 * 512 * 4096 + 4096
    assert params(model) == TRUNK + fc6 + 4096 * 4096 + 4096 + 4096 * 21 + 21 == parameters
