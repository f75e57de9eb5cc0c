"""The two residual blocks of ResNet, in 2D and 3D.

He, Zhang, Ren, Sun 2015, arXiv:1512.03385. The shortcut is added before the last activation; it
is a 1x1 convolution where stride or channels change.
"""

from __future__ import annotations

from typing import Any

import keras

from tfseg.layers.attention import squeeze_excite
from tfseg.layers.conv import activate, conv_norm_act

EXPANSION = 4  # output channels of a bottleneck over its width


def basic_block(
    x: Any,
    *,
    filters: int,
    stride: int = 1,
    dilation: int = 1,
    dilation_before: int | None = None,
    norm: str = "batch",
    activation: str = "relu",
    name: str,
) -> Any:
    """Two 3x3 convolutions to ``filters`` channels, the first one strided.

    ``dilation_before`` is the first one's dilation, where the block gave up a stride for
    dilation; by default both have the same.
    """
    y = conv_norm_act(
        x,
        filters=filters,
        stride=stride,
        dilation=dilation_before or dilation,
        padding="symmetric",
        norm=norm,
        activation=activation,
        name=f"{name}_1",
    )
    y = conv_norm_act(
        y, filters=filters, dilation=dilation, norm=norm, activation="none", name=f"{name}_2"
    )
    return _join(x, y, stride=stride, norm=norm, activation=activation, name=name)


def bottleneck_block(
    x: Any,
    *,
    filters: int,
    stride: int = 1,
    dilation: int = 1,
    dilation_before: int | None = None,
    stride_first: bool = False,
    squeeze: int = 0,
    norm: str = "batch",
    activation: str = "relu",
    name: str,
) -> Any:
    """1x1, 3x3 and 1x1 convolution to ``filters``, ``filters`` and 4 ``filters`` channels.

    Args:
        x: (batch, [z,] y, x, c).
        filters: width of the 3x3 convolution.
        stride: of the 3x3 convolution, as today's ResNets have it ("v1.5").
        dilation: of what comes after the stride.
        dilation_before: of what has the stride or comes before it, where the block gave up a
            stride for dilation; by default ``dilation``.
        stride_first: put the stride in the first 1x1 convolution instead, as the paper does.
        squeeze: reduction of squeeze-and-excitation before the sum (Hu et al. 2017,
            arXiv:1709.01507); 0 has none.
        norm: after each convolution.
        activation: after the first two and after the sum.
        name: prefix of the layers' names.
    """
    style: dict[str, Any] = {"norm": norm, "activation": activation}
    y = conv_norm_act(
        x,
        filters=filters,
        kernel=1,
        stride=stride if stride_first else 1,
        padding="symmetric",
        name=f"{name}_1",
        **style,
    )
    y = conv_norm_act(
        y,
        filters=filters,
        stride=1 if stride_first else stride,
        dilation=dilation if stride_first else dilation_before or dilation,
        padding="symmetric",
        name=f"{name}_2",
        **style,
    )
    y = conv_norm_act(
        y, filters=filters * EXPANSION, kernel=1, norm=norm, activation="none", name=f"{name}_3"
    )
    if squeeze:
        y = squeeze_excite(y, reduction=squeeze, name=f"{name}_gate")
    return _join(x, y, stride=stride, name=name, **style)


def _join(x: Any, y: Any, *, stride: int, norm: str, activation: str, name: str) -> Any:
    if stride != 1 or x.shape[-1] != y.shape[-1]:
        x = conv_norm_act(
            x,
            filters=y.shape[-1],
            kernel=1,
            stride=stride,
            padding="symmetric",
            norm=norm,
            activation="none",
            name=f"{name}_shortcut",
        )
    total = keras.layers.Add(name=f"{name}_add")([x, y])
    return activate(total, kind=activation, name=f"{name}_act")
