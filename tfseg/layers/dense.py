"""Pre-activated convolutions and the dense blocks made of them, in 2D and 3D."""

from __future__ import annotations

from typing import Any

import keras

from tfseg.layers.conv import Size, activate, conv
from tfseg.layers.norm import normalise


def norm_act_conv(
    x: Any,
    *,
    filters: int,
    kernel: Size = 3,
    stride: Size = 1,
    bias: bool = False,
    norm: str = "batch",
    activation: str = "relu",
    dropout: float = 0.0,
    name: str,
) -> Any:
    """Normalisation, activation, convolution: what DenseNet and ResNet v2 repeat.

    He, Zhang, Ren, Sun 2016, arXiv:1603.05027.

    Args:
        x: (batch, [z,] y, x, c).
        filters: channels of the result.
        kernel: of the convolution.
        stride: of the convolution.
        bias: keep the convolution's bias; without a norm it always has one.
        norm: a kind of :func:`~tfseg.layers.normalise`.
        activation: a kind of :func:`~tfseg.layers.activate`.
        dropout: rate after the convolution; 0 has no layer.
        name: prefix of the layers' names.
    """
    x = normalise(x, kind=norm, name=f"{name}_norm")
    x = activate(x, kind=activation, name=f"{name}_act")
    x = conv(
        x,
        filters=filters,
        kernel=kernel,
        stride=stride,
        bias=bias or norm == "none",
        name=f"{name}_conv",
    )
    return keras.layers.Dropout(dropout, name=f"{name}_dropout")(x) if dropout else x


def dense_block(
    x: Any,
    *,
    layers: int,
    growth: int,
    bottleneck: int = 0,
    bias: bool = False,
    norm: str = "batch",
    activation: str = "relu",
    dropout: float = 0.0,
    name: str,
) -> tuple[Any, list[Any]]:
    """Layers that each see the input and the maps of all layers before them.

    Huang, Liu, van der Maaten, Weinberger 2016, arXiv:1608.06993.

    Args:
        x: (batch, [z,] y, x, c).
        layers: number of 3x3 convolutions.
        growth: channels each of them adds.
        bottleneck: width, in multiples of ``growth``, of a 1x1 convolution before each of them;
            0 has none.
        bias: keep biases although norms follow.
        norm: before each convolution.
        activation: before each convolution.
        dropout: rate after each convolution.
        name: prefix of the layers' names.

    Returns:
        The input and all new maps concatenated, c + layers * growth channels; and the list of
        the new maps alone.
    """
    style: dict[str, Any] = {
        "bias": bias, "norm": norm, "activation": activation, "dropout": dropout,
    }  # fmt: skip
    new = []
    for number in range(1, layers + 1):
        y = x
        if bottleneck:
            y = norm_act_conv(
                y, filters=bottleneck * growth, kernel=1, name=f"{name}_{number}_narrow", **style
            )
        y = norm_act_conv(y, filters=growth, name=f"{name}_{number}", **style)
        new.append(y)
        x = keras.layers.Concatenate(name=f"{name}_{number}_concat")([x, y])
    return x, new
