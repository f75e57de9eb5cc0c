"""Deeply supervised 3D U-Net with fusion of depths. Ye et al. 2019, IEEE Access (whole heart).

A padded U-Net with max-pooling. Each decoder level has a 1x1x1 convolution to logits, upsampled
to full resolution; their concatenation is fused by another one into the answer. The answer and
the levels' logits are all trained, with equal weights. Widths are a preset; the paper's are not
known to us. ``faithful=True`` has batch normalisation and ReLU.
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

import keras
from pydantic import Field

from tfseg.layers import conv_norm_act, downsample, resize_like, transposed_conv
from tfseg.models.config import ModelConfig, output_logits


class UNet3DDSConfig(ModelConfig):
    """Options of :func:`build_unet3d_ds`.

    Attributes:
        base_filters: channels of the finest level; twice as many a level down.
        depth: number of levels, the bottom included.
        deep_supervision: train every level's logits, too.
    """

    paper: ClassVar[dict[str, Any]] = {"norm": "batch", "activation": "relu"}

    base_filters: Annotated[int, Field(ge=1, le=512)] = 16
    depth: Annotated[int, Field(ge=2, le=7)] = 5
    norm: Literal["instance", "batch", "none"] = "instance"
    activation: Literal["relu", "leaky_relu"] = "leaky_relu"
    deep_supervision: bool = True

    def divisor(self, rank: int) -> tuple[int, ...]:
        """Return what each axis of the input must be divisible by."""
        return (2 ** (self.depth - 1),) * rank


def build_unet3d_ds(
    input_shape: tuple[int | None, ...], num_classes: int, config: UNet3DDSConfig
) -> Any:
    """Build the network: image (batch, z, y, x, c) -> logits (batch, z, y, x, classes).

    With ``deep_supervision`` the outputs are a list: the fused logits, then those of each
    decoder level, finest first, all at the input's size.

    Raises:
        ConfigError: an input size that the poolings do not divide.
    """
    config.check_size(input_shape[:-1])
    inputs = keras.Input(input_shape, name="image")
    skips, x = [], inputs
    for level in range(config.depth):
        if level:
            x = downsample(x, stride=2, name=f"pool{level}")
        x = _convs(x, config, level, name=f"encoder{level}")
        skips.append(x)
    heads: list[Any] = []
    for level in reversed(range(config.depth - 1)):
        x = transposed_conv(x, filters=config.base_filters * 2**level, stride=2, name=f"up{level}")
        x = keras.layers.Concatenate(name=f"up{level}_concat")([skips[level], x])
        x = _convs(x, config, level, name=f"decoder{level}")
        head = output_logits(x, num_classes, name=f"logits{level}_coarse")
        heads.insert(0, resize_like(head, inputs, dtype="float32", name=f"logits{level}"))
    fused = heads[0]
    if len(heads) > 1:
        fused = keras.layers.Concatenate(dtype="float32", name="fusion_concat")(heads)
    fused = output_logits(fused, num_classes, name="logits")
    outputs = [fused, *heads] if config.deep_supervision else fused
    return keras.Model(inputs, outputs, name="unet3d_ds")


def _convs(x: Any, config: UNet3DDSConfig, level: int, *, name: str) -> Any:
    for number in (1, 2):
        x = conv_norm_act(
            x,
            filters=config.base_filters * 2**level,
            norm=config.norm,
            activation=config.activation,
            name=f"{name}_{number}",
        )
    return x
