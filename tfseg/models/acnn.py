"""ACNN: atrous network at full resolution. Zhou et al. 2019, arXiv:1901.09203; 2D and 3D.

A block is a 3x3 convolution of dilation 1, a running sum with the blocks before it, and a 3x3
convolution of dilation 3: of all pairs, 1 and 3 cover the largest field without gaps, so that N
blocks see 1 + 8 N voxels along each axis. Nothing is downsampled. ``faithful=True`` keeps the
convolutions' biases, as the authors' code does, though the norm after them takes them away.
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

import keras
from pydantic import Field

from tfseg.layers import activate, conv, conv_norm_act
from tfseg.models.config import ModelConfig

_DILATION = 3


class ACNNConfig(ModelConfig):
    """Options of :func:`build_acnn`.

    Attributes:
        base_filters: channels of every layer.
        blocks: number of blocks, of two layers each.
        norm: after each convolution.
        activation: after each norm.
        bias: of the convolutions also where a norm follows.
    """

    paper: ClassVar[dict[str, Any]] = {"activation": "relu", "bias": True}

    base_filters: Annotated[int, Field(ge=1, le=256)] = 16
    blocks: Annotated[int, Field(ge=1, le=64)] = 10
    norm: Literal["instance", "batch", "none"] = "instance"
    activation: Literal["relu", "leaky_relu"] = "leaky_relu"
    bias: bool = False


def build_acnn(input_shape: tuple[int | None, ...], num_classes: int, config: ACNNConfig) -> Any:
    """Build the network: image (batch, [z,] y, x, c) -> logits (batch, [z,] y, x, classes).

    Any input size fits.
    """
    style: dict[str, Any] = {
        "filters": config.base_filters,
        "bias": config.bias or config.norm == "none",
        "norm": config.norm,
    }
    inputs = x = keras.Input(input_shape, name="image")
    total = None  # of the blocks so far
    for index in range(config.blocks):
        name = f"block{index + 1}"
        x = conv_norm_act(x, activation="none", name=f"{name}_1", **style)
        if total is not None:
            x = keras.layers.Add(name=f"{name}_sum")([x, total])
        total = activate(x, kind=config.activation, name=f"{name}_1_act")
        x = conv_norm_act(
            total, dilation=_DILATION, activation=config.activation, name=f"{name}_2", **style
        )
    logits = conv(x, filters=num_classes, kernel=1, bias=False, dtype="float32", name="logits")
    return keras.Model(inputs, logits, name="acnn")
