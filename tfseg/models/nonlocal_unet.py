"""Non-local U-Net. Wang, Zou, Shen, Ji 2018, arXiv:1812.04103; 3D, and the same in 2D.

A short U-shape of pre-activated residual blocks, because global aggregation (attention of every
voxel to every voxel) at the bottom and in the first upsampling sees everything at once. Skips
are added. With ``faithful=True`` it is the authors' code: three levels, batch normalisation,
ReLU6, dropout 0.5 of the attention's weights and before the last convolution; it takes patches
of 32^3. Attention needs memory for queries times keys: the default has four levels, so that it
looks at 8 (in 2D 4) times fewer voxels, for the larger patches of today.
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

import keras
from pydantic import Field, ValidationInfo, field_validator

from tfseg.layers import activate, conv, global_aggregation, normalise, transposed_conv
from tfseg.models.config import ModelConfig, output_logits


class NonlocalUNetConfig(ModelConfig):
    """Options of :func:`build_nonlocal_unet`.

    Attributes:
        base_filters: channels of the finest level; twice as many a level down.
        depth: number of levels, the bottom included.
        heads: of the attention at the bottom; the upsampling one has a single head.
        dropout: rate of the attention's weights, and before the last convolution.
    """

    paper: ClassVar[dict[str, Any]] = {
        "depth": 3,
        "norm": "batch",
        "activation": "relu6",
        "dropout": 0.5,
    }

    base_filters: Annotated[int, Field(ge=1, le=512)] = 32
    depth: Annotated[int, Field(ge=2, le=7)] = 4
    heads: Annotated[int, Field(ge=1, le=64)] = 2
    norm: Literal["instance", "batch", "none"] = "instance"
    activation: Literal["relu", "relu6", "leaky_relu"] = "leaky_relu"
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.1

    @field_validator("heads")
    @classmethod
    def _dividing(cls, heads: int, info: ValidationInfo) -> int:
        if {"base_filters", "depth"} <= set(info.data):
            bottom = info.data["base_filters"] * 2 ** (info.data["depth"] - 1)
            if bottom % heads:
                raise ValueError(f"must divide the {bottom} channels of the bottom")
        return heads

    def divisor(self, rank: int) -> tuple[int, ...]:
        """Return what each axis of the input must be divisible by."""
        return (2 ** (self.depth - 1),) * rank


def build_nonlocal_unet(
    input_shape: tuple[int | None, ...], num_classes: int, config: NonlocalUNetConfig
) -> Any:
    """Build the network: image (batch, [z,] y, x, c) -> logits (batch, [z,] y, x, classes).

    Raises:
        ConfigError: an input size that the strides do not divide.
    """
    config.check_size(input_shape[:-1])
    bias = config.norm == "none"
    inputs = keras.Input(input_shape, name="image")
    x = conv(inputs, filters=config.base_filters, bias=bias, name="first")
    skips = []
    for level in range(config.depth):
        filters = config.base_filters * 2**level
        x = _residual(x, filters, config, stride=2 if level else 1, name=f"encoder{level}")
        skips.append(x)

    seen = _norm_act(x, config, name="bottom")
    seen = global_aggregation(
        seen,
        filters=x.shape[-1],
        heads=config.heads,
        dropout=config.dropout,
        name="bottom",
    )
    x = keras.layers.Add(name="bottom_add")([seen, x])

    for level in reversed(range(config.depth - 1)):
        filters = config.base_filters * 2**level
        if level == config.depth - 2:
            x = _attentive_up(x, filters, config, bias=bias, name=f"up{level}")
        else:
            x = transposed_conv(
                x, filters=filters, kernel=3, stride=2, bias=bias, name=f"up{level}"
            )
        x = keras.layers.Add(name=f"up{level}_skip")([x, skips[level]])
        x = _residual(x, filters, config, name=f"decoder{level}")

    x = _norm_act(x, config, name="head")
    if config.dropout:
        x = keras.layers.Dropout(config.dropout, name="head_dropout")(x)
    return keras.Model(inputs, output_logits(x, num_classes, name="logits"), name="nonlocal_unet")


def _residual(
    x: Any, filters: int, config: NonlocalUNetConfig, *, stride: int | None = None, name: str
) -> Any:
    """Two pre-activated convolutions; with a stride given, beside a 1x1 projection of the same."""
    bias = config.norm == "none"
    shortcut = x
    x = _norm_act(x, config, name=f"{name}_1")
    if stride is not None:
        shortcut = conv(
            x, filters=filters, kernel=1, stride=stride, bias=bias, name=f"{name}_shortcut"
        )
    x = conv(x, filters=filters, stride=stride or 1, bias=bias, name=f"{name}_1_conv")
    x = _norm_act(x, config, name=f"{name}_2")
    x = conv(x, filters=filters, bias=bias, name=f"{name}_2_conv")
    return keras.layers.Add(name=f"{name}_add")([x, shortcut])


def _attentive_up(
    x: Any, filters: int, config: NonlocalUNetConfig, *, bias: bool, name: str
) -> Any:
    """Upsample by attention, beside a transposed convolution."""
    x = _norm_act(x, config, name=name)
    shortcut = transposed_conv(
        x, filters=filters, kernel=3, stride=2, bias=bias, name=f"{name}_shortcut"
    )
    x = global_aggregation(x, filters=filters, query="up", dropout=config.dropout, name=name)
    return keras.layers.Add(name=f"{name}_add")([x, shortcut])


def _norm_act(x: Any, config: NonlocalUNetConfig, *, name: str) -> Any:
    x = normalise(x, kind=config.norm, name=f"{name}_norm")
    return activate(x, kind=config.activation, name=f"{name}_act")
