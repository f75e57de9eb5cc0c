"""FracNet. Jin et al. 2020, doi:10.1016/j.ebiom.2020.103106; 3D, and the same in 2D.

A small U-Net for rib fractures in CT: four levels of 16 to 128 channels, batch normalisation
and leaky ReLU after every convolution, the transposed ones too, no biases. The default has
instance normalisation. The paper trains on 64^3 patches.
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

import keras
from pydantic import Field

from tfseg.layers import activate, double_conv, downsample, normalise, transposed_conv
from tfseg.models.config import ModelConfig, output_logits


class FracNetConfig(ModelConfig):
    """Options of :func:`build_fracnet`.

    Attributes:
        base_filters: channels of the finest level; twice as many a level down.
        depth: number of levels, the bottom included.
    """

    paper: ClassVar[dict[str, Any]] = {"norm": "batch"}

    base_filters: Annotated[int, Field(ge=1, le=512)] = 16
    depth: Annotated[int, Field(ge=2, le=7)] = 4
    norm: Literal["instance", "batch", "none"] = "instance"
    activation: Literal["relu", "leaky_relu"] = "leaky_relu"

    def divisor(self, rank: int) -> tuple[int, ...]:
        """Return what each axis of the input must be divisible by."""
        return (2 ** (self.depth - 1),) * rank


def build_fracnet(
    input_shape: tuple[int | None, ...], num_classes: int, config: FracNetConfig
) -> Any:
    """Build the network: image (batch, [z,] y, x, c) -> logits (batch, [z,] y, x, classes).

    Raises:
        ConfigError: an input size that the poolings do not divide.
    """
    config.check_size(input_shape[:-1])
    inputs = keras.Input(input_shape, name="image")
    style: dict[str, Any] = {"norm": config.norm, "activation": config.activation}
    skips, x = [], inputs
    for level in range(config.depth):
        if level:
            x = downsample(x, stride=2, name=f"pool{level}")
        x = double_conv(x, filters=config.base_filters * 2**level, name=f"encoder{level}", **style)
        skips.append(x)
    for level in reversed(range(config.depth - 1)):
        x = transposed_conv(
            x,
            filters=config.base_filters * 2**level,
            stride=2,
            bias=config.norm == "none",
            name=f"up{level}",
        )
        x = normalise(x, kind=config.norm, name=f"up{level}_norm")
        x = activate(x, kind=config.activation, name=f"up{level}_act")
        x = keras.layers.Concatenate(name=f"up{level}_concat")([skips[level], x])
        x = double_conv(x, filters=config.base_filters * 2**level, name=f"decoder{level}", **style)
    return keras.Model(inputs, output_logits(x, num_classes, name="logits"), name="fracnet")
