"""VGG. Simonyan, Zisserman 2014, arXiv:1409.1556; 2D and 3D from one source.

Five stages of 3x3 convolutions, each ended by max-pooling. A pooling past the output stride is
3x3 with stride 1, and the convolutions after it dilate, as in DeepLab (Chen et al. 2014,
arXiv:1412.7062). The paper has no normalisation.
"""

from __future__ import annotations

from functools import partial
from typing import Any, ClassVar, Literal

from tfseg.layers import conv_norm_act, downsample
from tfseg.models.backbones.classifier import (
    BackboneConfig,
    build_classifier,
    dense_head,
    mean_head,
)
from tfseg.models.backbones.features import Features, Strides, Style

VGGS: dict[str, tuple[int, ...]] = {  # convolutions of the five stages
    "vgg16": (2, 2, 3, 3, 3),
    "vgg19": (2, 2, 4, 4, 4),
}
_WIDTHS = (64, 128, 256, 512, 512)
_CELLS, _UNITS = 7, 4096


class VGGConfig(BackboneConfig):
    """Options of the VGG classifiers.

    Attributes:
        head: ``dense``, two layers of 4096 units over 7 cells an axis, or ``mean``, over which a
            single layer decides.
    """

    paper: ClassVar[dict[str, Any]] = {"head": "dense", "dropout": 0.5}

    norm: Literal["instance", "batch", "group", "none"] = "none"
    head: Literal["mean", "dense"] = "mean"


def vgg_features(x: Any, name: str, style: Style, *, bias: bool | None = None) -> Features:
    """Build the convolutional part.

    Args:
        x: (batch, [z,] y, x, c).
        name: a key of :data:`VGGS`.
        style: shared settings.
        bias: of the convolutions; ``None`` has it where no normalisation follows.

    Returns:
        Stages of strides 2 to 32, after their pooling; skips of strides 1 to 16, before it,
        and 32.
    """
    prefix, strides = style.prefix, Strides(style.output_stride)
    stages: list[tuple[int, Any]] = []
    skips: dict[int, Any] = {}
    for index, count in enumerate(VGGS[name]):
        for number in range(count):
            x = conv_norm_act(
                x,
                filters=style.width(_WIDTHS[index]),
                dilation=strides.dilation,
                bias=bias,
                name=f"{prefix}stage{index + 1}_{number + 1}",
                **style.block,
            )
        skips[strides.reached] = x
        step = strides.take()
        pool = f"{prefix}stage{index + 1}_pool"
        x = downsample(x, stride=step, size=2 if step == 2 else 3, padding="same", name=pool)
        stages.append((strides.reached, x))
        skips[strides.reached] = x
    return Features(tuple(stages), tuple(skips.items()))


def _build(
    name: str, input_shape: tuple[int | None, ...], num_classes: int, config: VGGConfig
) -> Any:
    def body(x: Any) -> Any:
        style = config.style(name)
        x = vgg_features(x, name, style).last
        if config.head == "mean":
            return mean_head(x, num_classes, dropout=config.dropout)
        return dense_head(
            x,
            num_classes,
            cells=_CELLS,
            widths=(style.width(_UNITS),) * 2,
            activation=config.activation,
            dropout=config.dropout,
        )

    return build_classifier(name, input_shape, config, body)


build_vgg16 = partial(_build, "vgg16")
build_vgg19 = partial(_build, "vgg19")
