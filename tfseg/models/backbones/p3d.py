"""Pseudo-3D residual network. Qiu, Yao, Mei 2017, arXiv:1711.10305; 3D only.

Bottlenecks whose 3x3x3 convolution is split into S, 1x3x3 within a slice, and T, 3x1x1 across
slices: in blocks A one after the other, in B side by side, in C as S plus T of S; A, B, C in
turn within each stage. The default depth is that of CFUN (Xu, Wu, Feng 2018, arXiv:1812.04914),
two stages of two and three blocks; ``blocks=(3, 4, 6, 3)`` is the paper's P3D-63.
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

import keras
from pydantic import Field

from tfseg.errors import ConfigError
from tfseg.layers import activate, conv_norm_act, downsample, rank_of
from tfseg.layers.residual import EXPANSION
from tfseg.models.backbones.classifier import BackboneConfig, build_classifier, mean_head
from tfseg.models.backbones.features import Features, Strides, Style

_BLOCKS = (2, 3)
_KINDS = ("a", "b", "c")


class P3DConfig(BackboneConfig):
    """Options of :func:`build_p3d`.

    Attributes:
        base_filters: channels of the stem; the stages have 4, 8, ... times as many.
        blocks: of each stage.
        bias: give the convolutions a bias although a normalisation follows, as CFUN's have.
    """

    paper: ClassVar[dict[str, Any]] = {"base_filters": 32, "bias": True}

    base_filters: Annotated[int, Field(ge=1, le=256)] = 32
    blocks: Annotated[tuple[Annotated[int, Field(ge=1, le=64)], ...], Field(min_length=1)] = _BLOCKS
    bias: bool = False


def p3d_features(
    x: Any,
    name: str,
    style: Style,
    *,
    blocks: tuple[int, ...] = _BLOCKS,
    bias: bool = False,
) -> Features:
    """Build the trunk: stem (stride 2), pooling, then stages of stride 2.

    Args:
        x: (batch, z, y, x, c).
        name: ``p3d``.
        style: shared settings.
        blocks: of each stage.
        bias: of convolutions that a normalisation follows.

    Returns:
        Stages of strides 2 and 4 (the stem's), 8, 16, ...

    Raises:
        ConfigError: ``x`` is 2D.
    """
    if rank_of(x) != 3:
        raise ConfigError(f"the backbone {name} is 3D; the image has {rank_of(x)} axes.")
    prefix, strides = style.prefix, Strides(style.output_stride)
    options: dict[str, Any] = {"bias": bias or None, "padding": "symmetric", "norm": style.norm}
    x = conv_norm_act(
        x,
        filters=style.base_filters,
        kernel=(3, 7, 7),
        stride=strides.take(),
        activation=style.activation,
        name=f"{prefix}stem",
        **options,
    )
    stages = [(strides.reached, x)]
    if not strides.exhausted:
        x = downsample(x, stride=strides.take(), padding="same", name=f"{prefix}stem_pool")
        stages.append((strides.reached, x))
    for index, count in enumerate(blocks):
        for number in range(count):
            dilation = strides.dilation
            x = _block(
                x,
                filters=style.base_filters * 2**index,
                kind=_KINDS[number % len(_KINDS)],
                stride=1 if number else strides.take(),
                dilation=dilation,
                activation=style.activation,
                options=options,
                name=f"{prefix}stage{index + 1}_block{number + 1}",
            )
        stages.append((strides.reached, x))
    return Features(tuple(stages), tuple(dict(stages).items()))


def _block(
    x: Any,
    *,
    filters: int,
    kind: str,
    stride: int,
    dilation: int,
    activation: str,
    options: dict[str, Any],
    name: str,
) -> Any:
    y = conv_norm_act(
        x,
        filters=filters,
        kernel=1,
        stride=stride,
        activation=activation,
        name=f"{name}_in",
        **options,
    )
    split = {"filters": filters, "dilation": dilation, "activation": activation, **options}
    within = conv_norm_act(y, kernel=(1, 3, 3), name=f"{name}_s", **split)
    across = conv_norm_act(
        y if kind == "b" else within, kernel=(3, 1, 1), name=f"{name}_t", **split
    )
    y = across if kind == "a" else keras.layers.Add(name=f"{name}_split")([within, across])
    y = conv_norm_act(
        y,
        filters=filters * EXPANSION,
        kernel=1,
        activation="none",
        name=f"{name}_out",
        **options,
    )
    if stride != 1 or x.shape[-1] != y.shape[-1]:
        x = conv_norm_act(
            x,
            filters=y.shape[-1],
            kernel=1,
            stride=stride,
            activation="none",
            name=f"{name}_shortcut",
            **options,
        )
    total = keras.layers.Add(name=f"{name}_add")([x, y])
    return activate(total, kind=activation, name=f"{name}_act")


def build_p3d(input_shape: tuple[int | None, ...], num_classes: int, config: P3DConfig) -> Any:
    """Build the classifier: image (batch, z, y, x, c) -> logits (batch, classes)."""

    def body(x: Any) -> Any:
        features = p3d_features(
            x, "p3d", config.style("p3d"), blocks=config.blocks, bias=config.bias
        )
        return mean_head(features.last, num_classes, dropout=config.dropout)

    return build_classifier("p3d", input_shape, config, body)
