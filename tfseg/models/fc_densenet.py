"""FC-DenseNet, "Tiramisu". Jegou et al. 2016, arXiv:1611.09326; 2D and 3D from one source.

A U-shape of dense blocks. On the way down a block's input and new maps are the skip connection;
from the bottom on only the new maps are upsampled, so that the width does not explode; the last
block hands its input on as well. The names give the number of convolutions: 56, 67, 103.

With ``faithful=True`` it is the paper's: batch normalisation and biases in all convolutions.
The authors crop what their unpadded 3x3 transposed convolutions add; here they are padded to
exactly twice the size. The default has instance normalisation, because patch batches are small.
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

import keras
from pydantic import Field, field_validator

from tfseg.layers import conv, dense_block, downsample, norm_act_conv, transposed_conv
from tfseg.models.config import ModelConfig, output_logits

_PAPER_FILTERS = 48  # of the first convolution


class FCDenseNetConfig(ModelConfig):
    """Options of :func:`build_fc_densenet103`.

    Attributes:
        base_filters: channels of the first convolution.
        growth: channels that each convolution adds; ``None`` keeps the paper's proportion to
            ``base_filters``, 16 (56: 12) to 48.
        blocks: convolutions of the dense blocks: on the way down, at the bottom, on the way up.
        bias: keep the convolutions' biases although normalisation follows.
        dropout: rate after each convolution.
    """

    paper: ClassVar[dict[str, Any]] = {"norm": "batch", "activation": "relu", "bias": True}
    paper_growth: ClassVar[int] = 16

    base_filters: Annotated[int, Field(ge=1, le=512)] = _PAPER_FILTERS
    growth: Annotated[int, Field(ge=1, le=512)] | None = None
    blocks: tuple[Annotated[int, Field(ge=1, le=64)], ...] = (4, 5, 7, 10, 12, 15, 12, 10, 7, 5, 4)
    norm: Literal["instance", "batch", "none"] = "instance"
    activation: Literal["relu", "leaky_relu"] = "leaky_relu"
    bias: bool = False
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.2

    @field_validator("blocks")
    @classmethod
    def _paired(cls, blocks: tuple[int, ...]) -> tuple[int, ...]:
        if len(blocks) < 3 or len(blocks) % 2 == 0:
            raise ValueError("must be an odd number of counts, 3 or more: down, bottom, up")
        return blocks

    @property
    def poolings(self) -> int:
        """Number of poolings."""
        return len(self.blocks) // 2

    @property
    def width(self) -> int:
        """Channels that each convolution adds."""
        return self.growth or max(1, self.base_filters * self.paper_growth // _PAPER_FILTERS)

    def divisor(self, rank: int) -> tuple[int, ...]:
        """Return what each axis of the input must be divisible by."""
        return (2**self.poolings,) * rank


class FCDenseNet67Config(FCDenseNetConfig):
    """Options of :func:`build_fc_densenet67`; see :class:`FCDenseNetConfig`."""

    blocks: tuple[Annotated[int, Field(ge=1, le=64)], ...] = (5,) * 11


class FCDenseNet56Config(FCDenseNetConfig):
    """Options of :func:`build_fc_densenet56`; see :class:`FCDenseNetConfig`."""

    paper_growth: ClassVar[int] = 12

    blocks: tuple[Annotated[int, Field(ge=1, le=64)], ...] = (4,) * 11


def build_fc_densenet103(
    input_shape: tuple[int | None, ...], num_classes: int, config: FCDenseNetConfig
) -> Any:
    """Build the network: image (batch, [z,] y, x, c) -> logits (batch, [z,] y, x, classes).

    Raises:
        ConfigError: an input size that the poolings do not divide.
    """
    return _build(input_shape, num_classes, config, "fc_densenet103")


def build_fc_densenet67(
    input_shape: tuple[int | None, ...], num_classes: int, config: FCDenseNetConfig
) -> Any:
    """As :func:`build_fc_densenet103`, with 5 convolutions in every block."""
    return _build(input_shape, num_classes, config, "fc_densenet67")


def build_fc_densenet56(
    input_shape: tuple[int | None, ...], num_classes: int, config: FCDenseNetConfig
) -> Any:
    """As :func:`build_fc_densenet103`, with 4 convolutions in every block, 12 channels each."""
    return _build(input_shape, num_classes, config, "fc_densenet56")


def _build(
    input_shape: tuple[int | None, ...], num_classes: int, config: FCDenseNetConfig, name: str
) -> Any:
    config.check_size(input_shape[:-1])
    depth = config.poolings
    bias = config.bias or config.norm == "none"
    style: dict[str, Any] = {
        "bias": bias,
        "norm": config.norm,
        "activation": config.activation,
        "dropout": config.dropout,
    }

    inputs = keras.Input(input_shape, name="image")
    x = conv(inputs, filters=config.base_filters, bias=bias, name="first")
    skips = []
    for level, layers in enumerate(config.blocks[:depth]):
        x, _ = dense_block(x, layers=layers, growth=config.width, name=f"encoder{level}", **style)
        skips.append(x)
        x = norm_act_conv(x, filters=x.shape[-1], kernel=1, name=f"down{level}", **style)
        x = downsample(x, stride=2, name=f"down{level}_pool")

    x, new = dense_block(
        x, layers=config.blocks[depth], growth=config.width, name="bottom", **style
    )
    for level, layers in zip(reversed(range(depth)), config.blocks[depth + 1 :], strict=True):
        x = keras.layers.Concatenate(name=f"up{level}_new")(new) if len(new) > 1 else new[0]
        x = transposed_conv(
            x, filters=x.shape[-1], kernel=3, stride=2, bias=bias, name=f"up{level}"
        )
        x = keras.layers.Concatenate(name=f"up{level}_concat")([x, skips[level]])
        x, new = dense_block(x, layers=layers, growth=config.width, name=f"decoder{level}", **style)
    return keras.Model(inputs, output_logits(x, num_classes, name="logits"), name=name)
