"""ResNet and SE-ResNet, in 2D and 3D.

He, Zhang, Ren, Sun 2015, arXiv:1512.03385; Hu, Shen, Sun 2017, arXiv:1709.01507. Bottlenecks
carry their stride in the 3x3 convolution ("v1.5"); the names ending in ``_v1`` carry it in the
first 1x1 convolution, as the paper and the weights of keras.applications do. Past the output
stride later stages keep their resolution and dilate (Chen et al. 2016, arXiv:1606.00915), so
that every voxel has the value it would have with strides.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

from tfseg.layers import basic_block, bottleneck_block, conv_norm_act, downsample
from tfseg.models.backbones.classifier import BackboneConfig, build_classifier, mean_head
from tfseg.models.backbones.features import Features, Strides, Style


@dataclass(frozen=True)
class Depth:
    """One member of the family.

    Attributes:
        blocks: of the four stages.
        bottleneck: or basic blocks.
        stride_first: stride in the first convolution of a bottleneck, not in its second.
        squeeze: reduction of squeeze-and-excitation; 0 has none.
    """

    blocks: tuple[int, int, int, int]
    bottleneck: bool = True
    stride_first: bool = False
    squeeze: int = 0


RESNETS: dict[str, Depth] = {
    "resnet18": Depth((2, 2, 2, 2), bottleneck=False),
    "resnet34": Depth((3, 4, 6, 3), bottleneck=False),
    "resnet50": Depth((3, 4, 6, 3)),
    "resnet101": Depth((3, 4, 23, 3)),
    "resnet152": Depth((3, 8, 36, 3)),
    "resnet50_v1": Depth((3, 4, 6, 3), stride_first=True),
    "resnet101_v1": Depth((3, 4, 23, 3), stride_first=True),
    "resnet152_v1": Depth((3, 8, 36, 3), stride_first=True),
    "se_resnet50": Depth((3, 4, 6, 3), squeeze=16),
}


def resnet_features(x: Any, name: str, style: Style) -> Features:
    """Build a trunk: stem (stride 2), max-pool, four stages.

    Args:
        x: (batch, [z,] y, x, c).
        name: a key of :data:`RESNETS`.
        style: shared settings.

    Returns:
        Maps of strides 2 (the stem's), 4, 8, 16 and 32, as far as the output stride allows.
    """
    depth, prefix, strides = RESNETS[name], style.prefix, Strides(style.output_stride)
    x = conv_norm_act(
        x,
        filters=style.base_filters,
        kernel=7,
        stride=strides.take(),
        padding="symmetric",
        name=f"{prefix}stem",
        **style.block,
    )
    stages = [(strides.reached, x)]
    if not strides.exhausted:
        x = downsample(x, stride=strides.take(), size=3, name=f"{prefix}stem_pool")
    for index, count in enumerate(depth.blocks):
        dilation_before = strides.dilation
        stride = strides.take() if index else 1
        for number in range(count):
            options: dict[str, Any] = {
                "filters": style.base_filters * 2**index,
                "stride": 1 if number else stride,
                "dilation": strides.dilation,
                "dilation_before": strides.dilation if number else dilation_before,
                "name": f"{prefix}stage{index + 1}_block{number + 1}",
                **style.block,
            }
            if depth.bottleneck:
                x = bottleneck_block(
                    x, stride_first=depth.stride_first, squeeze=depth.squeeze, **options
                )
            else:
                x = basic_block(x, **options)
        stages.append((strides.reached, x))
    return Features(tuple(stages), tuple(dict(stages).items()))


def _build(
    name: str, input_shape: tuple[int | None, ...], num_classes: int, config: BackboneConfig
) -> Any:
    def body(x: Any) -> Any:
        features = resnet_features(x, name, config.style(name))
        return mean_head(features.last, num_classes, dropout=config.dropout)

    return build_classifier(name, input_shape, config, body)


build_resnet18 = partial(_build, "resnet18")
build_resnet34 = partial(_build, "resnet34")
build_resnet50 = partial(_build, "resnet50")
build_resnet101 = partial(_build, "resnet101")
build_resnet152 = partial(_build, "resnet152")
build_se_resnet50 = partial(_build, "se_resnet50")
