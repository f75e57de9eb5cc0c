"""ResNets: published parameter counts, strides, dilation."""

import keras
import numpy as np
import pytest

from tfseg.errors import ConfigError
from tfseg.models.backbones import encoder


def trunk(name, size, rank=2, **options):
    """The trunk without its numbers: shapes and counts need no memory."""
    with keras.StatelessScope(initialize_variables=False):
        inputs = keras.Input((size,) * rank + (3,))
        features = encoder(inputs, name, **options)
        return keras.Model(inputs, [stage for _, stage in features.stages[1:]])


@pytest.mark.parametrize(
    ("name", "published"),
    [
        # torchvision's models without their last layer: 512 * 1000 + 1000 and
        # 2048 * 1000 + 1000 parameters less than 11,689,512, 21,797,672 and 25,557,032.
        ("resnet18", 11_176_512),
        ("resnet34", 21_284_672),
        ("resnet50", 23_508_032),
        ("resnet101", 42_500_160),
        ("resnet152", 58_143_808),
    ],
)
def test_published_parameter_counts(name, published):
    model = trunk(name, 32)
    assert sum(int(np.prod(weight.shape)) for weight in model.trainable_weights) == published


@pytest.mark.parametrize("rank", [2, 3])
@pytest.mark.parametrize(
    ("output_stride", "strides", "dilations"),
    [
        # Strides of the four stages' outputs; dilation of each stage's last 3x3 convolution.
        (2, (2, 2, 2, 2), (1, 2, 4, 8)),
        (4, (4, 4, 4, 4), (1, 2, 4, 8)),
        (8, (4, 8, 8, 8), (1, 1, 2, 4)),
        (16, (4, 8, 16, 16), (1, 1, 1, 2)),
        (32, (4, 8, 16, 32), (1, 1, 1, 1)),
    ],
)
@pytest.mark.parametrize("name", ["resnet18", "resnet50"])
def test_strides_become_dilation_past_the_output_stride(
    name, output_stride, strides, dilations, rank
):
    model = trunk(name, 64, rank, output_stride=output_stride, base_filters=2, norm="none")
    widths = [2, 4, 8, 16] if name == "resnet18" else [8, 16, 32, 64]
    assert [output.shape[1:] for output in model.outputs] == [
        (64 // stride,) * rank + (width,) for stride, width in zip(strides, widths, strict=True)
    ]
    for stage, dilation in enumerate(dilations, 1):
        layer = model.get_layer(f"{name}_stage{stage}_block2_2_conv")
        assert set(layer.dilation_rate) == {dilation}


def test_473_pixels_become_60():
    """Zhao et al. 2016 train on 473 pixels at output stride 8: 473 -> 237 -> 119 -> 60."""
    model = trunk("resnet50", 473, output_stride=8, base_filters=2)
    assert [output.shape[1] for output in model.outputs] == [119, 60, 60, 60]


def test_the_first_dilated_block_keeps_the_dilation_before_it():
    model = trunk("resnet18", 64, output_stride=8, base_filters=2)
    rates = {
        part: model.get_layer(f"resnet18_{part}").dilation_rate[0]
        for part in ("stage3_block1_1_conv", "stage3_block2_1_conv", "stage4_block1_1_conv")
    }
    assert list(rates.values()) == [1, 2, 2]


@pytest.mark.parametrize("output_stride", [1, 3, 64])
def test_bad_output_stride_is_refused(output_stride):
    with pytest.raises(ConfigError, match=rf"one of \(2, 4, 8, 16, 32\); got {output_stride}"):
        trunk("resnet18", 32, output_stride=output_stride)


def test_unknown_name_names_the_nearest():
    with pytest.raises(ConfigError, match=r"unknown backbone 'resnet51'\. Did you mean resnet50"):
        trunk("resnet51", 32)
