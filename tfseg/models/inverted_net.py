"""InvertedNet and its two siblings. Novikov et al. 2018, arXiv:1701.08816; 2D and 3D.

Three U-Nets for chest radiographs, all padded, with upsampling that has no weights. All-Dropout
multiplies Gaussian noise onto every convolution; All-Convolutional pools by strided convolutions;
InvertedNet has most channels where the resolution is full and halves them as it falls, a tenth of
the parameters. With ``faithful=True``: the paper's widths, ELU, no normalisation. The rate of the
noise, and which pooling InvertedNet delays (ours: the first, which keeps the resolution), are our
reading of the paper.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, ClassVar

import keras
from pydantic import Field

from tfseg.layers import conv_norm_act, downsample, nearest_upsample
from tfseg.models.config import output_logits
from tfseg.models.u_shape import LevelsConfig, UShapeConfig, concat

Rate = Annotated[float, Field(ge=0, lt=1)]
_PAPER: dict[str, Any] = {"norm": "none", "activation": "elu"}


class AllDropoutConfig(UShapeConfig):
    """Options of :func:`build_all_dropout`, besides those of the U shape.

    Attributes:
        dropout: rate of the Gaussian noise after each convolution; its standard deviation is
            sqrt(rate / (1 - rate)).
    """

    paper: ClassVar[dict[str, Any]] = {**_PAPER, "base_filters": 64}

    dropout: Rate = 0.1


class AllConvolutionalConfig(UShapeConfig):
    """Options of :func:`build_all_convolutional`, besides those of the U shape.

    Attributes:
        dropout: rate of the Gaussian noise after each convolution.
    """

    paper: ClassVar[dict[str, Any]] = {**_PAPER, "base_filters": 64}

    dropout: Rate = 0.0


class InvertedNetConfig(LevelsConfig):
    """Options of :func:`build_inverted_net`, besides those of the levels.

    Attributes:
        finest_filters: channels at full resolution; each level below has half as many.
        coarsest_filters: no level has fewer.
        delayed_pooling: the first pooling keeps the resolution.
        dropout: rate of the Gaussian noise after each convolution.
    """

    paper: ClassVar[dict[str, Any]] = {**_PAPER, "finest_filters": 256}

    finest_filters: Annotated[int, Field(ge=1, le=1024)] = 32
    coarsest_filters: Annotated[int, Field(ge=1, le=1024)] = 16
    delayed_pooling: bool = True
    dropout: Rate = 0.0

    def filters(self, level: int) -> int:
        """Return the channels of a level; 0 is the finest."""
        return max(self.finest_filters // 2**level, self.coarsest_filters)

    def pool_strides(self) -> tuple[int, ...]:
        """Return the factor of each of the depth - 1 poolings."""
        return (1 if self.delayed_pooling else 2, *(2,) * (self.depth - 2))

    def divisor(self, rank: int) -> tuple[int, ...]:
        """Return what each axis of the input must be divisible by."""
        return (2 ** sum(stride == 2 for stride in self.pool_strides()),) * rank


_Config = AllDropoutConfig | AllConvolutionalConfig | InvertedNetConfig


def build_all_dropout(
    input_shape: tuple[int | None, ...], num_classes: int, config: AllDropoutConfig
) -> Any:
    """Build the network: image (batch, [z,] y, x, c) -> logits (batch, [z,] y, x, classes).

    Raises:
        ConfigError: an input size that the poolings do not divide.
    """
    strides = (2,) * (config.depth - 1)
    return _build("all_dropout", input_shape, num_classes, config, strides)


def build_all_convolutional(
    input_shape: tuple[int | None, ...], num_classes: int, config: AllConvolutionalConfig
) -> Any:
    """Build the network: image (batch, [z,] y, x, c) -> logits (batch, [z,] y, x, classes).

    Raises:
        ConfigError: an input size that the poolings do not divide.
    """
    strides = (2,) * (config.depth - 1)
    return _build("all_convolutional", input_shape, num_classes, config, strides, learned=True)


def build_inverted_net(
    input_shape: tuple[int | None, ...], num_classes: int, config: InvertedNetConfig
) -> Any:
    """Build the network: image (batch, [z,] y, x, c) -> logits (batch, [z,] y, x, classes).

    Raises:
        ConfigError: an input size that the poolings do not divide.
    """
    return _build("inverted_net", input_shape, num_classes, config, config.pool_strides())


def _build(
    name: str,
    input_shape: tuple[int | None, ...],
    num_classes: int,
    config: _Config,
    strides: Sequence[int],
    *,
    learned: bool = False,
) -> Any:
    """Build any of the three; ``learned`` pooling is a strided convolution."""
    config.check_size(input_shape[:-1])
    inputs = keras.Input(input_shape, name="image")
    skips, x = [], inputs
    for level in range(config.depth):
        stride = strides[level - 1] if level else 1
        if stride > 1 and learned:
            x = _conv(x, x.shape[-1], config, stride=stride, name=f"pool{level}")
        elif stride > 1:
            x = downsample(x, stride=stride, name=f"pool{level}")
        x = _two_convs(x, config, level, name=f"encoder{level}")
        skips.append(x)
    for level in reversed(range(config.depth - 1)):
        if strides[level] > 1:
            x = nearest_upsample(x, factor=strides[level], name=f"up{level}")
        x = concat(skips[level], x, name=f"decoder{level}")
        x = _two_convs(x, config, level, name=f"decoder{level}")
    return keras.Model(inputs, output_logits(x, num_classes, name="logits"), name=name)


def _two_convs(x: Any, config: _Config, level: int, *, name: str) -> Any:
    for index in (1, 2):
        x = _conv(x, config.filters(level), config, name=f"{name}_{index}")
    return x


def _conv(x: Any, filters: int, config: _Config, *, stride: int = 1, name: str) -> Any:
    x = conv_norm_act(x, filters=filters, stride=stride, name=name, **config.style)
    if config.dropout:
        x = keras.layers.GaussianDropout(config.dropout, name=f"{name}_dropout")(x)
    return x
