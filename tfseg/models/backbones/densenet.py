"""DenseNet with bottlenecks and compression ("DenseNet-BC"), in 2D and 3D.

Huang, Liu, van der Maaten, Weinberger 2016, arXiv:1608.06993. Each layer of a block sees the
concatenation of all maps before it; normalisation and activation come before the convolutions.
A transition past the output stride averages with stride 1, and the blocks after it dilate.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import keras

from tfseg.layers import activate, conv, conv_norm_act, downsample, normalise, rank_of
from tfseg.models.backbones.classifier import BackboneConfig, build_classifier, mean_head
from tfseg.models.backbones.features import Features, Strides, Style


@dataclass(frozen=True)
class Dense:
    """One member of the family: layers of the four blocks, growth rate, channels of the stem."""

    blocks: tuple[int, int, int, int]
    growth: int
    stem: int


DENSENETS: dict[str, Dense] = {
    "densenet121": Dense((6, 12, 24, 16), growth=32, stem=64),
    "densenet161": Dense((6, 12, 36, 24), growth=48, stem=96),
}
_BOTTLENECK = 4  # width of the 1x1 convolution over the growth rate
_COMPRESSION = 2  # channels before a transition over those after it


def densenet_features(x: Any, name: str, style: Style) -> Features:
    """Build a trunk: stem (stride 2), max-pool, four dense blocks with three transitions.

    Args:
        x: (batch, [z,] y, x, c).
        name: a key of :data:`DENSENETS`.
        style: shared settings.

    Returns:
        Maps of strides 2 (the stem's), 4, 8, 16 and 32: of each block after normalisation and
        activation, before the transition that follows.
    """
    dense, prefix, strides = DENSENETS[name], style.prefix, Strides(style.output_stride)
    growth = style.width(dense.growth)
    x = conv_norm_act(
        x,
        filters=style.width(dense.stem),
        kernel=7,
        stride=strides.take(),
        padding="symmetric",
        name=f"{prefix}stem",
        **style.block,
    )
    stages = [(strides.reached, x)]
    if not strides.exhausted:
        x = downsample(x, stride=strides.take(), size=3, name=f"{prefix}stem_pool")
    for index, count in enumerate(dense.blocks):
        stage = f"{prefix}stage{index + 1}"
        if index:
            x = conv(
                x,
                filters=x.shape[-1] // _COMPRESSION,
                kernel=1,
                bias=style.norm == "none",
                name=f"{stage}_transition_conv",
            )
            x = _average_pool(x, strides.take(), name=f"{stage}_transition_pool")
        for number in range(count):
            x = _layer(x, growth, strides.dilation, style, name=f"{stage}_layer{number + 1}")
        x = _norm_act(x, style, name=f"{stage}_end")
        stages.append((strides.reached, x))
    return Features(tuple(stages), tuple(dict(stages).items()))


def _layer(x: Any, growth: int, dilation: int, style: Style, *, name: str) -> Any:
    """Append ``growth`` channels to ``x``."""
    bias = style.norm == "none"
    y = _norm_act(x, style, name=f"{name}_1")
    y = conv(y, filters=_BOTTLENECK * growth, kernel=1, bias=bias, name=f"{name}_1_conv")
    y = _norm_act(y, style, name=f"{name}_2")
    y = conv(y, filters=growth, dilation=dilation, bias=bias, name=f"{name}_2_conv")
    return keras.layers.Concatenate(name=f"{name}_concat")([x, y])


def _norm_act(x: Any, style: Style, *, name: str) -> Any:
    x = normalise(x, kind=style.norm, name=f"{name}_norm")
    return activate(x, kind=style.activation, name=f"{name}_act")


def _average_pool(x: Any, stride: int, *, name: str) -> Any:
    # "same" keeps a last window that is not full, and averages over what there is of it.
    layer = keras.layers.AveragePooling2D if rank_of(x) == 2 else keras.layers.AveragePooling3D
    return layer(2, strides=stride, padding="same", name=name)(x)


def _build(
    name: str, input_shape: tuple[int | None, ...], num_classes: int, config: BackboneConfig
) -> Any:
    def body(x: Any) -> Any:
        features = densenet_features(x, name, config.style(name))
        return mean_head(features.last, num_classes, dropout=config.dropout)

    return build_classifier(name, input_shape, config, body)


build_densenet121 = partial(_build, "densenet121")
build_densenet161 = partial(_build, "densenet161")
