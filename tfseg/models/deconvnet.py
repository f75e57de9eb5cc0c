"""DeconvNet. Noh, Hong, Han 2015, arXiv:1505.04366; 2D and 3D from one source.

VGG-16 with its two fully connected layers as convolutions, and the mirror of it all, in which
each pooling is undone at the places of its maxima. A transposed convolution of stride 1 is a
convolution, so that is what stands in the mirror. With ``faithful=True``: biases, batch
normalisation, and an unpadded 7x7 fc6 of 4096 channels, which leaves one cell of an image of
224x224. The default is narrower, with instance normalisation, four stages and a small padded fc6.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, ClassVar, Literal

import keras
from pydantic import Field

from tfseg.errors import ConfigError
from tfseg.layers import activate, conv_norm_act, normalise, transposed_conv
from tfseg.models.config import ModelConfig, output_logits
from tfseg.models.unpooling import VGGName, masked_encoder, unpool, vgg_stages


class DeconvNetConfig(ModelConfig):
    """Options of :func:`build_deconvnet`.

    Attributes:
        backbone: whose stages the encoder has.
        stages: how many of them, the finest first.
        base_filters: channels of the first stage; 64 is the published width.
        fc_kernel: edge length of fc6's kernel, and of its transpose's.
        fc_factor: channels of fc6 and fc7 over ``base_filters``.
        padding: of fc6.
        norm: after each convolution.
        activation: after each norm.
        bias: of the convolutions also where a norm follows.
    """

    paper: ClassVar[dict[str, Any]] = {
        "stages": 5,
        "base_filters": 64,
        "fc_kernel": 7,
        "fc_factor": 64,
        "padding": "valid",
        "norm": "batch",
        "activation": "relu",
        "bias": True,
    }

    backbone: VGGName = "vgg16"
    stages: Annotated[int, Field(ge=1, le=5)] = 4
    base_filters: Annotated[int, Field(ge=1, le=256)] = 32
    fc_kernel: Annotated[int, Field(ge=1, le=15)] = 3
    fc_factor: Annotated[int, Field(ge=1, le=64)] = 16
    padding: Literal["same", "valid"] = "same"
    norm: Literal["instance", "batch", "none"] = "instance"
    activation: Literal["relu", "leaky_relu"] = "leaky_relu"
    bias: bool = False

    def divisor(self, rank: int) -> tuple[int, ...]:
        """Return what the poolings ask each axis to be divisible by."""
        return (2**self.stages,) * rank

    def check_size(self, spatial: Sequence[int | None]) -> None:
        """Refuse sizes that the poolings do not divide, or of which fc6 leaves nothing.

        Raises:
            ConfigError: names the divisor or the smallest size.
        """
        super().check_size(spatial)
        smallest = 2**self.stages * self.fc_kernel
        if self.padding == "valid" and any(size and size < smallest for size in spatial):
            raise ConfigError(
                f"an unpadded fc6 of kernel {self.fc_kernel} needs an input of {smallest} or more "
                f"along each axis; got {tuple(spatial)}. Use padding=same or a larger input."
            )


def build_deconvnet(
    input_shape: tuple[int | None, ...], num_classes: int, config: DeconvNetConfig
) -> Any:
    """Build the network: image (batch, [z,] y, x, c) -> logits (batch, [z,] y, x, classes).

    Raises:
        ConfigError: an input size that does not fit.
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
    x = _middle(x, config, style)
    for index in reversed(range(config.stages)):
        count, filters = stages[index]
        name = f"decoder{index + 1}"
        x = unpool(x, masks[index], name=f"{name}_unpool")
        widths = [filters] * (count - 1) + [stages[max(index - 1, 0)][1]]
        for number, width in enumerate(widths):
            x = conv_norm_act(x, filters=width, name=f"{name}_{number + 1}", **style)
    return keras.Model(inputs, output_logits(x, num_classes, name="logits"), name="deconvnet")


def _middle(x: Any, config: DeconvNetConfig, style: dict[str, Any]) -> Any:
    """fc6, fc7, and the transpose of fc6, which restores the size of ``x`` and its channels."""
    filters, kernel = config.fc_factor * config.base_filters, config.fc_kernel
    y = conv_norm_act(
        x, filters=filters, kernel=kernel, padding=config.padding, name="fc6", **style
    )
    y = conv_norm_act(y, filters=filters, kernel=1, name="fc7", **style)
    y = transposed_conv(
        y,
        filters=x.shape[-1],
        stride=1,
        kernel=kernel,
        padding=config.padding,
        bias=style["bias"],
        name="fc6_transposed_conv",
    )
    y = normalise(y, kind=config.norm, name="fc6_transposed_norm")
    return activate(y, kind=config.activation, name="fc6_transposed_act")
