"""Atrous spatial pyramid pooling (ASPP), in 2D and 3D."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras

from tfseg.layers.conv import conv_norm_act
from tfseg.layers.pooling import AdaptiveAveragePooling
from tfseg.layers.resize import resize_like
from tfseg.layers.separable import separable_conv


def aspp(
    x: Any,
    *,
    rates: Sequence[int],
    filters: int,
    separable: bool = False,
    norm: str = "batch",
    activation: str = "relu",
    name: str,
) -> Any:
    """Look at ``x`` with several fields of view at once, and concatenate what is seen.

    Chen, Papandreou, Schroff, Adam 2017, arXiv:1706.05587, section 3.3: a 1x1 convolution, a
    3x3 convolution at each dilation rate, and the mean of the whole map; each to ``filters``
    channels.

    Args:
        x: (batch, [z,] y, x, c).
        rates: dilations, in voxels of ``x``.
        filters: channels of each of the len(rates) + 2 branches.
        separable: depthwise separable 3x3 convolutions, as in arXiv:1802.02611.
        norm: after each convolution.
        activation: after each norm.
        name: prefix of the layers' names.

    Returns:
        (batch, [z,] y, x, (len(rates) + 2) * filters).
    """
    style: dict[str, Any] = {"filters": filters, "activation": activation}
    branches = [conv_norm_act(x, kernel=1, norm=norm, name=f"{name}_point", **style)]
    atrous = separable_conv if separable else conv_norm_act
    for rate in rates:
        branches.append(atrous(x, dilation=rate, norm=norm, name=f"{name}_rate{rate}", **style))
    mean = AdaptiveAveragePooling(1, name=f"{name}_mean")(x)
    # One voxel has no variance of its own: instance norm would erase it.
    mean_norm = "none" if norm == "instance" else norm
    mean = conv_norm_act(mean, kernel=1, norm=mean_norm, name=f"{name}_image", **style)
    branches.append(resize_like(mean, x, name=f"{name}_image_up"))
    return keras.layers.Concatenate(name=f"{name}_concat")(branches)
