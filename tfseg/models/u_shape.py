"""The plain U that several networks bend: levels, max-pooling, up-convolutions, skips.

Ronneberger, Fischer, Brox 2015, arXiv:1505.04597, padded. A network says what stands at each
level and how a skip connection joins; options and sizes are here once.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, Literal

import keras
from pydantic import Field

from tfseg.layers import downsample, transposed_conv
from tfseg.models.config import ModelConfig

Block = Callable[..., Any]  # block(x, filters=..., name=...) -> x with that many channels
Join = Callable[..., Any]  # join(skip, x, name=...) -> both of them in one


class LevelsConfig(ModelConfig):
    """Options of networks with levels, each at half the resolution of the one above it.

    Attributes:
        depth: number of levels, the bottom included.
        norm: normalisation.
        activation: after each normalisation.
        bias: keep the biases of convolutions that a norm follows, as some authors did.
    """

    depth: Annotated[int, Field(ge=2, le=6)] = 5
    norm: Literal["instance", "batch", "none"] = "instance"
    activation: Literal["relu", "leaky_relu", "elu"] = "leaky_relu"
    bias: bool = False

    def divisor(self, rank: int) -> tuple[int, ...]:
        """Return what each axis of the input must be divisible by."""
        return (2 ** (self.depth - 1),) * rank

    @property
    def style(self) -> dict[str, Any]:
        """Arguments of the blocks: norm, activation, and the biases under a norm."""
        return {
            "norm": self.norm,
            "activation": self.activation,
            "bias": True if self.bias else None,
        }


class UShapeConfig(LevelsConfig):
    """Options of the U-shaped networks, besides those of the levels.

    Attributes:
        base_filters: channels of the finest level; each level below has twice as many.
    """

    base_filters: Annotated[int, Field(ge=1, le=1024)] = 32

    def filters(self, level: int) -> int:
        """Return the channels of a level; 0 is the finest."""
        return self.base_filters * 2**level


def concat(skip: Any, x: Any, *, name: str) -> Any:
    """Join a skip connection by concatenation."""
    return keras.layers.Concatenate(name=f"{name}_concat")([skip, x])


def u_shape(
    x: Any,
    config: UShapeConfig,
    *,
    encoder_block: Block,
    decoder_block: Block | None = None,
    join: Join = concat,
) -> list[Any]:
    """Build the U on ``x`` and return the maps of its decoder, finest first.

    Args:
        x: (batch, [z,] y, x, c), divisible as ``config.divisor`` says.
        config: widths and depth.
        encoder_block: stands at each level on the way down, named ``encoder<level>``.
        decoder_block: on the way up, named ``decoder<level>``; by default the same.
        join: of the encoder's map and the upsampled one.

    Returns:
        depth - 1 maps; number l has ``config.filters(l)`` channels and stride 2^l.
    """
    skips = []
    for level in range(config.depth):
        if level:
            x = downsample(x, stride=2, name=f"pool{level}")
        x = encoder_block(x, filters=config.filters(level), name=f"encoder{level}")
        skips.append(x)
    maps: list[Any] = []
    for level in reversed(range(config.depth - 1)):
        name = f"decoder{level}"
        x = transposed_conv(x, filters=config.filters(level), stride=2, name=f"up{level}")
        x = join(skips[level], x, name=name)
        x = (decoder_block or encoder_block)(x, filters=config.filters(level), name=name)
        maps.insert(0, x)
    return maps
