"""PixelBNN. Leopold, Orchard, Zelek, Lakshminarayanan 2017, arXiv:1712.06742; 2D and 3D.

A fully residual autoencoder out of PixelCNN++ (Salimans et al. 2017, arXiv:1701.05517): gated
residual blocks with concatenated ELU and normalisation at three resolutions, strided convolutions
down and up, and skips from each block to its mirror image. Filter counts are ours. With
``faithful=True``: batch normalisation, biases, dropout 0.5.
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

import keras
from pydantic import Field

from tfseg.layers import ConcatElu, conv, gated_residual, normalise, transposed_conv
from tfseg.models.config import ModelConfig, output_logits


class PixelBNNConfig(ModelConfig):
    """Options of :func:`build_pixelbnn`.

    Attributes:
        base_filters: channels at full resolution, twice as many at each level below.
        depth: number of resolutions.
        blocks: gated blocks a level, on either way.
        norm: normalisation.
        bias: keep the biases of convolutions that a norm follows.
        dropout: within the blocks.
    """

    paper: ClassVar[dict[str, Any]] = {"norm": "batch", "bias": True, "dropout": 0.5}

    base_filters: Annotated[int, Field(ge=1, le=256)] = 32
    depth: Annotated[int, Field(ge=1, le=6)] = 3
    blocks: Annotated[int, Field(ge=1, le=8)] = 2
    norm: Literal["instance", "batch", "none"] = "instance"
    bias: bool = False
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.1

    def divisor(self, rank: int) -> tuple[int, ...]:
        """Return what each axis of the input must be divisible by."""
        return (2 ** (self.depth - 1),) * rank


def build_pixelbnn(
    input_shape: tuple[int | None, ...], num_classes: int, config: PixelBNNConfig
) -> Any:
    """Build the network: image (batch, [z,] y, x, c) -> logits (batch, [z,] y, x, classes).

    Raises:
        ConfigError: an input size that the strides do not divide.
    """
    config.check_size(input_shape[:-1])
    inputs = keras.Input(input_shape, name="image")
    x = conv(inputs, filters=config.base_filters, name="stem")
    skips: list[list[Any]] = []
    for level in range(config.depth):
        if level:
            x = _resample(x, config, level, up=False, name=f"down{level}")
        outputs = []
        for index in range(config.blocks):
            x = _block(x, None, config, name=f"encoder{level}_{index + 1}")
            outputs.append(x)
        skips.append(outputs)
    for level in reversed(range(config.depth - 1)):
        x = _resample(x, config, level, up=True, name=f"up{level}")
        for index, skip in enumerate(reversed(skips[level])):
            x = _block(x, skip, config, name=f"decoder{level}_{index + 1}")
    x = ConcatElu(name="act")(x)
    return keras.Model(inputs, output_logits(x, num_classes, name="logits"), name="pixelbnn")


def _block(x: Any, skip: Any, config: PixelBNNConfig, *, name: str) -> Any:
    return gated_residual(
        x, skip=skip, dropout=config.dropout, norm=config.norm, bias=config.bias or None, name=name
    )


def _resample(x: Any, config: PixelBNNConfig, level: int, *, up: bool, name: str) -> Any:
    """Convolve to the grid and the channels of ``level``, and normalise."""
    filters = config.base_filters * 2**level
    bias = config.bias or config.norm == "none"
    if up:
        x = transposed_conv(x, filters=filters, stride=2, kernel=3, bias=bias, name=f"{name}_conv")
    else:
        x = conv(x, filters=filters, stride=2, bias=bias, name=f"{name}_conv")
    return normalise(x, kind=config.norm, name=f"{name}_norm")
