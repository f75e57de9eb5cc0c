"""Learned preprocessing and FC-ResNet. Drozdzal et al. 2017, arXiv:1702.05174; 2D and 3D.

A small FCN turns the image into another one of a single channel, normalised as suits the network
behind it; that is a residual U-shape of pre-activated bottlenecks whose skips are sums. Both are
trained as one. The publication leaves the widths open: ours are 16 to 256 in the first, 32 to 512
in the second. ``faithful=True`` has batch normalisation and ReLU in the second (the first has no
norm); the default instance normalisation.
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

import keras
from pydantic import Field

from tfseg.layers import activate, conv, conv_norm_act, downsample, normalise, resize_like
from tfseg.models.config import ModelConfig, output_logits

_LEVELS = 5  # of the first network
_NARROWING = 4  # a bottleneck's channels over its inner ones


class FCNPreprocConfig(ModelConfig):
    """Options of :func:`build_fcn_preproc_resnet`.

    Attributes:
        base_filters: channels of the first network's finest level; the second's has twice as
            many. Both double with each level.
        blocks: bottlenecks of the second network's stages; the first of each is strided.
        norm: before each convolution of the second network.
        activation: in both.
        dropout: before the logits.
    """

    paper: ClassVar[dict[str, Any]] = {"norm": "batch", "activation": "relu", "dropout": 0.5}

    base_filters: Annotated[int, Field(ge=1, le=256)] = 16
    blocks: Annotated[
        tuple[Annotated[int, Field(ge=1, le=64)], ...], Field(min_length=1, max_length=6)
    ] = (3, 8, 10, 3)
    norm: Literal["instance", "batch", "none"] = "instance"
    activation: Literal["relu", "leaky_relu"] = "leaky_relu"
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.1


def build_fcn_preproc_resnet(
    input_shape: tuple[int | None, ...], num_classes: int, config: FCNPreprocConfig
) -> Any:
    """Build the network: image (batch, [z,] y, x, c) -> logits (batch, [z,] y, x, classes).

    Any input size fits. The layer ``normalised`` holds the image (batch, [z,] y, x, 1) that the
    second network sees.
    """
    inputs = keras.Input(input_shape, name="image")
    x = _preprocess(inputs, config)
    x = _residual_network(x, config)
    x = _norm_act(x, config, name="end")
    if config.dropout:
        x = keras.layers.Dropout(config.dropout, name="dropout")(x)
    logits = output_logits(x, num_classes, name="logits")
    return keras.Model(inputs, logits, name="fcn_preproc_resnet")


def _preprocess(x: Any, config: FCNPreprocConfig) -> Any:
    style: dict[str, Any] = {"norm": "none", "activation": config.activation}
    widths = [config.base_filters * 2**level for level in range(_LEVELS)]
    skips = []
    for level, filters in enumerate(widths):
        if level:
            x = downsample(x, stride=2, padding="same", name=f"normaliser_pool{level}")
        for number in (1, 2):
            x = conv_norm_act(
                x, filters=filters, name=f"normaliser_encoder{level}_{number}", **style
            )
        skips.append(x)
    for level in reversed(range(_LEVELS - 1)):
        name = f"normaliser_decoder{level}"
        x = resize_like(x, skips[level], name=f"{name}_up")
        x = conv_norm_act(x, filters=widths[level], name=f"{name}_1", **style)
        x = keras.layers.Add(name=f"{name}_sum")([x, skips[level]])
        x = conv_norm_act(x, filters=widths[level], name=f"{name}_2", **style)
    return conv(x, filters=1, kernel=1, name="normalised")


def _residual_network(x: Any, config: FCNPreprocConfig) -> Any:
    width = 2 * config.base_filters
    x = conv(x, filters=width, name="stem")
    skips = [x]
    for index, count in enumerate(config.blocks):
        filters = width * 2 ** (index + 1)
        for number in range(count):
            stride = 1 if number else 2
            x = _bottleneck(x, filters, stride, config, f"stage{index + 1}_block{number + 1}")
        skips.append(x)
    for level in reversed(range(len(config.blocks))):
        skip = skips[level]
        x = resize_like(x, skip, name=f"decoder{level}_up")
        x = conv(x, filters=skip.shape[-1], kernel=1, name=f"decoder{level}_conv")
        x = keras.layers.Add(name=f"decoder{level}_sum")([x, skip])
        x = _bottleneck(x, skip.shape[-1], 1, config, f"decoder{level}_block")
    return x


def _bottleneck(x: Any, filters: int, stride: int, config: FCNPreprocConfig, name: str) -> Any:
    """Pre-activated: norm and activation before each convolution (He et al. 2016)."""
    bias = config.norm == "none"
    inner = max(1, filters // _NARROWING)
    y = first = _norm_act(x, config, name=f"{name}_1")
    y = conv(y, filters=inner, kernel=1, bias=bias, name=f"{name}_1_conv")
    y = _norm_act(y, config, name=f"{name}_2")
    y = conv(y, filters=inner, stride=stride, padding="symmetric", bias=bias, name=f"{name}_2_conv")
    y = _norm_act(y, config, name=f"{name}_3")
    y = conv(y, filters=filters, kernel=1, bias=bias, name=f"{name}_3_conv")
    if stride > 1 or x.shape[-1] != filters:
        x = conv(
            first,
            filters=filters,
            kernel=1,
            stride=stride,
            padding="symmetric",
            bias=bias,
            name=f"{name}_shortcut_conv",
        )
    return keras.layers.Add(name=f"{name}_add")([x, y])


def _norm_act(x: Any, config: FCNPreprocConfig, *, name: str) -> Any:
    x = normalise(x, kind=config.norm, name=f"{name}_norm")
    return activate(x, kind=config.activation, name=f"{name}_act")
