"""Dense-U-Net. Kolarik et al. 2019, doi:10.3390/app9030404; 3D, and 2D as the authors have too.

A U-Net whose levels are interconnected: the second convolution of a level sees the level's
input and the first one's result, and the level hands on its input and the second one's result.
With ``faithful=True`` there is no normalisation, as in the paper; its widths are not known to
us, the ones here are a preset. The default adds instance normalisation.
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

import keras
from pydantic import Field

from tfseg.layers import conv_norm_act, downsample, transposed_conv
from tfseg.models.config import ModelConfig, output_logits


class DenseUNet3DConfig(ModelConfig):
    """Options of :func:`build_dense_unet3d`.

    Attributes:
        base_filters: channels of a convolution on the finest level; twice as many a level down.
        depth: number of levels, the bottom included.
    """

    paper: ClassVar[dict[str, Any]] = {"norm": "none", "activation": "relu"}

    base_filters: Annotated[int, Field(ge=1, le=512)] = 32
    depth: Annotated[int, Field(ge=2, le=7)] = 4
    norm: Literal["instance", "batch", "none"] = "instance"
    activation: Literal["relu", "leaky_relu"] = "leaky_relu"

    def divisor(self, rank: int) -> tuple[int, ...]:
        """Return what each axis of the input must be divisible by."""
        return (2 ** (self.depth - 1),) * rank


def build_dense_unet3d(
    input_shape: tuple[int | None, ...], num_classes: int, config: DenseUNet3DConfig
) -> Any:
    """Build the network: image (batch, [z,] y, x, c) -> logits (batch, [z,] y, x, classes).

    Raises:
        ConfigError: an input size that the poolings do not divide.
    """
    config.check_size(input_shape[:-1])
    inputs = keras.Input(input_shape, name="image")
    skips, x = [], inputs
    for level in range(config.depth):
        if level:
            x = downsample(x, stride=2, name=f"pool{level}")
        x = _interconnected(x, config, level, name=f"encoder{level}")
        skips.append(x)
    for level in reversed(range(config.depth - 1)):
        x = transposed_conv(x, filters=config.base_filters * 2**level, stride=2, name=f"up{level}")
        x = keras.layers.Concatenate(name=f"up{level}_concat")([skips[level], x])
        x = _interconnected(x, config, level, name=f"decoder{level}")
    return keras.Model(inputs, output_logits(x, num_classes, name="logits"), name="dense_unet3d")


def _interconnected(x: Any, config: DenseUNet3DConfig, level: int, *, name: str) -> Any:
    """Two convolutions to f channels; the result has the input's channels and f more."""
    style: dict[str, Any] = {
        "filters": config.base_filters * 2**level,
        "norm": config.norm,
        "activation": config.activation,
    }
    first = conv_norm_act(x, name=f"{name}_1", **style)
    both = keras.layers.Concatenate(name=f"{name}_inner")([x, first])
    second = conv_norm_act(both, name=f"{name}_2", **style)
    return keras.layers.Concatenate(name=f"{name}_outer")([x, second])
