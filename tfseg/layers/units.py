"""What U-shaped networks repeat at every level: two convolutions, plain or around a shortcut."""

from __future__ import annotations

from typing import Any

import keras

from tfseg.layers.conv import activate, conv_norm_act


def double_conv(
    x: Any,
    *,
    filters: int,
    norm: str = "instance",
    activation: str = "leaky_relu",
    bias: bool | None = None,
    name: str,
) -> Any:
    """Two 3x3 convolutions, each with normalisation and activation.

    Ronneberger et al. 2015, arXiv:1505.04597. ``bias`` is that of
    :func:`~tfseg.layers.conv_norm_act`.
    """
    style: dict[str, Any] = {"norm": norm, "activation": activation, "bias": bias}
    x = conv_norm_act(x, filters=filters, name=f"{name}_1", **style)
    return conv_norm_act(x, filters=filters, name=f"{name}_2", **style)


def residual_unit(
    x: Any,
    *,
    filters: int,
    norm: str = "instance",
    activation: str = "leaky_relu",
    bias: bool | None = None,
    name: str,
) -> Any:
    """:func:`double_conv` around a shortcut; the second activation comes after the sum.

    The shortcut always is a 1x1 convolution with normalisation, as the U-shaped residual
    networks have it; :func:`~tfseg.layers.basic_block` leaves it out where it can.
    """
    style: dict[str, Any] = {"norm": norm, "bias": bias}
    y = conv_norm_act(x, filters=filters, activation=activation, name=f"{name}_1", **style)
    y = conv_norm_act(y, filters=filters, activation="none", name=f"{name}_2", **style)
    x = conv_norm_act(
        x, filters=filters, kernel=1, activation="none", name=f"{name}_shortcut", **style
    )
    total = keras.layers.Add(name=f"{name}_add")([x, y])
    return activate(total, kind=activation, name=f"{name}_act")
