"""SegNet and SegNet-Basic. Badrinarayanan, Kendall, Cipolla 2015, arXiv:1511.00561; 2D and 3D.

The decoder mirrors the encoder, and undoes each pooling by putting every value where the
encoder's maximum was, so that edges stay where they are though nothing but masks is passed on.
With ``faithful=True`` SegNet is VGG-16's convolutions with biases and batch normalisation and
their mirror; the default is narrower, has instance normalisation, and four stages.
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

import keras
from pydantic import Field

from tfseg.layers import conv, conv_norm_act
from tfseg.models.config import ModelConfig, output_logits
from tfseg.models.unpooling import VGGName, masked_encoder, unpool, vgg_stages


class SegNetConfig(ModelConfig):
    """Options of :func:`build_segnet`.

    Attributes:
        backbone: whose stages the encoder has.
        stages: how many of them, the finest first.
        base_filters: channels of the first stage; 64 is the published width.
        norm: after each convolution.
        activation: after each norm.
        bias: of the convolutions also where a norm follows.
    """

    paper: ClassVar[dict[str, Any]] = {
        "stages": 5,
        "base_filters": 64,
        "norm": "batch",
        "activation": "relu",
        "bias": True,
    }

    backbone: VGGName = "vgg16"
    stages: Annotated[int, Field(ge=1, le=5)] = 4
    base_filters: Annotated[int, Field(ge=1, le=256)] = 32
    norm: Literal["instance", "batch", "none"] = "instance"
    activation: Literal["relu", "leaky_relu"] = "leaky_relu"
    bias: bool = False

    def divisor(self, rank: int) -> tuple[int, ...]:
        """Return what the poolings ask each axis to be divisible by."""
        return (2**self.stages,) * rank


class SegNetBasicConfig(ModelConfig):
    """Options of :func:`build_segnet_basic`.

    Attributes:
        stages: number of poolings.
        base_filters: channels of every layer.
        kernel: edge length of the convolutions.
        norm: after each convolution.
        activation: in the encoder; the decoder is linear.
    """

    paper: ClassVar[dict[str, Any]] = {
        "base_filters": 64,
        "kernel": 7,
        "norm": "batch",
        "activation": "relu",
    }

    stages: Annotated[int, Field(ge=1, le=6)] = 4
    base_filters: Annotated[int, Field(ge=1, le=256)] = 32
    kernel: Annotated[int, Field(ge=1, le=11)] = 5
    norm: Literal["instance", "batch", "none"] = "instance"
    activation: Literal["relu", "leaky_relu"] = "leaky_relu"

    def divisor(self, rank: int) -> tuple[int, ...]:
        """Return what the poolings ask each axis to be divisible by."""
        return (2**self.stages,) * rank


def build_segnet(
    input_shape: tuple[int | None, ...], num_classes: int, config: SegNetConfig
) -> Any:
    """Build the network: image (batch, [z,] y, x, c) -> logits (batch, [z,] y, x, classes).

    Raises:
        ConfigError: an input size that the poolings do not divide.
    """
    config.check_size(input_shape[:-1])
    style: dict[str, Any] = {
        "bias": config.bias or config.norm == "none",
        "norm": config.norm,
        "activation": config.activation,
    }
    stages = vgg_stages(config.backbone, config.stages, config.base_filters)
    inputs = keras.Input(input_shape, name="image")
    x, masks = masked_encoder(inputs, stages, prefix=f"{config.backbone}_", **style)
    for index in reversed(range(config.stages)):
        count, filters = stages[index]
        name = f"decoder{index + 1}"
        x = unpool(x, masks[index], name=f"{name}_unpool")
        # A stage ends with the channels of the next finer one; the finest, with the logits.
        widths = [filters] * (count - 1)
        if index:
            widths.append(stages[index - 1][1])
        for number, width in enumerate(widths):
            x = conv_norm_act(x, filters=width, name=f"{name}_{number + 1}", **style)
    logits = conv(x, filters=num_classes, dtype="float32", name="logits")
    return keras.Model(inputs, logits, name="segnet")


def build_segnet_basic(
    input_shape: tuple[int | None, ...], num_classes: int, config: SegNetBasicConfig
) -> Any:
    """Build the network: image (batch, [z,] y, x, c) -> logits (batch, [z,] y, x, classes).

    Raises:
        ConfigError: an input size that the poolings do not divide.
    """
    config.check_size(input_shape[:-1])
    style: dict[str, Any] = {"kernel": config.kernel, "norm": config.norm}
    inputs = keras.Input(input_shape, name="image")
    x, masks = masked_encoder(
        inputs,
        [(1, config.base_filters)] * config.stages,
        prefix="encoder_",
        activation=config.activation,
        **style,
    )
    for index in reversed(range(config.stages)):
        name = f"decoder{index + 1}"
        x = unpool(x, masks[index], name=f"{name}_unpool")
        x = conv_norm_act(x, filters=config.base_filters, activation="none", name=name, **style)
    return keras.Model(inputs, output_logits(x, num_classes, name="logits"), name="segnet_basic")
