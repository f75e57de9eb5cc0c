"""DeepLab v3: torchvision's counts, the pyramid, the cascade."""

import pytest
from kit import counted

from tfseg.models.cost import params

TRUNK = 23_508_032  # ResNet-50 without its classifier


@pytest.mark.parametrize(
    ("backbone", "auxiliary", "parameters"),
    [
        ("resnet50", True, 42_004_074),
        ("resnet50", False, 39_638_869),
        ("resnet101", True, 60_996_202),
        ("resnet101", False, 58_630_997),
    ],
)
def test_published_form(backbone, auxiliary, parameters):
    model = counted(
        "deeplabv3", (513, 513, 3), 21, faithful=True, backbone=backbone, auxiliary=auxiliary
    )
    assert params(model) == parameters
    assert model.get_layer("aspp_concat").output.shape == (None, 33, 33, 1280)
    assert [output.shape for output in model.outputs] == [(None, 513, 513, 21)] * (1 + auxiliary)


def test_the_count_by_parts():
    pyramid = 2 * (2048 * 256 + 512) + 3 * (9 * 2048 * 256 + 512)
    head = (1280 * 256 + 512) + (9 * 256 * 256 + 512) + 256 * 21 + 21
    auxiliary = 9 * 1024 * 256 + 512 + 256 * 21 + 21
    assert TRUNK + pyramid + head == 39_638_869
    assert TRUNK + pyramid + head + auxiliary == 42_004_074


@pytest.mark.parametrize("grid", [(1, 2, 1), (1, 2, 4)])
def test_the_cascade_doubles_its_dilation_with_each_block(grid):
    model = counted(
        "deeplabv3", (513, 513, 3), 21,
        faithful=True, mode="cascade", multi_grid=grid, auxiliary=False, last_conv=False,
    )  # fmt: skip
    unit = 2048 * 512 + 9 * 512 * 512 + 512 * 2048 + 2 * (512 + 512 + 2048)
    assert params(model) == TRUNK + 9 * unit + 2048 * 21 + 21
    dilations = [
        [model.get_layer(f"block{block}_unit{u}_2_conv").dilation_rate[0] for u in (1, 2, 3)]
        for block in (5, 6, 7)
    ]
    assert dilations == [[step * factor for factor in grid] for step in (4, 8, 16)]


@pytest.mark.parametrize(("stride", "size"), [(16, 33), (8, 65)])
def test_output_stride(stride, size):
    model = counted("deeplabv3", (513, 513, 3), 21, faithful=True, output_stride=stride)
    assert model.get_layer("logits_coarse").output.shape == (None, size, size, 21)
