"""LU-Net. Zhang, Du, Liu, Hou, Zhao, Ding 2019, IEEE Access 7:92539; 2D and 3D from one source.

A U-Net that loses less of where things are: poolings keep the places of their maxima, and the
decoder puts its values back there. Each level sees three dilations at once around a shortcut;
widths and dilations are ours. The paper's other two parts, squeeze-and-excitation and the image
fed in at every scale, are options. With ``faithful=True``: batch normalisation and ReLU.
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

import keras
from pydantic import Field

from tfseg.layers import (
    MaxPoolWithMask,
    MaxUnpool,
    activate,
    conv,
    conv_norm_act,
    rank_of,
    squeeze_excite,
)
from tfseg.models.config import output_logits
from tfseg.models.u_shape import UShapeConfig, concat

_BRANCHES = ((1, 2), (2, 4), (4, 4))  # dilation, and the block's channels over the branch's


class LUNetConfig(UShapeConfig):
    """Options of :func:`build_lu_net`, besides those of the U shape.

    Attributes:
        depth: number of levels, the bottom included.
        squeeze: squeeze-and-excitation at the end of each block of the encoder.
        image_pyramid: give each level of the encoder the image, averaged to its resolution.
    """

    paper: ClassVar[dict[str, Any]] = {"norm": "batch", "activation": "relu"}

    depth: Annotated[int, Field(ge=2, le=6)] = 4
    squeeze: bool = False
    image_pyramid: bool = False


def build_lu_net(input_shape: tuple[int | None, ...], num_classes: int, config: LUNetConfig) -> Any:
    """Build the network: image (batch, [z,] y, x, c) -> logits (batch, [z,] y, x, classes).

    Raises:
        ConfigError: an input size that the poolings do not divide.
    """
    config.check_size(input_shape[:-1])
    inputs = keras.Input(input_shape, name="image")
    skips, masks, x, image = [], [], inputs, inputs
    for level in range(config.depth):
        if level:
            x, mask = MaxPoolWithMask(name=f"pool{level}")(x)
            masks.append(mask)
        if level and config.image_pyramid:
            image = _halve(image, name=f"image{level}")
            x = keras.layers.Concatenate(name=f"encoder{level}_concat")([x, image])
        x = _block(x, config, level, name=f"encoder{level}")
        if config.squeeze:
            x = squeeze_excite(x, name=f"encoder{level}_se")
        skips.append(x)
    for level in reversed(range(config.depth - 1)):
        name, filters = f"decoder{level}", config.filters(level)
        x = conv_norm_act(x, filters=filters, kernel=1, name=f"reduce{level}", **config.style)
        x = MaxUnpool(name=f"unpool{level}")([x, masks[level]])
        x = concat(skips[level], x, name=name)
        x = _block(x, config, level, name=name)
    return keras.Model(inputs, output_logits(x, num_classes, name="logits"), name="lu_net")


def _block(x: Any, config: LUNetConfig, level: int, *, name: str) -> Any:
    """Three dilations side by side, joined by a convolution, around a 1x1 shortcut."""
    filters = config.filters(level)
    branches = [
        conv_norm_act(
            x,
            filters=max(1, filters // share),
            dilation=dilation,
            name=f"{name}_dilated{dilation}",
            **config.style,
        )
        for dilation, share in _BRANCHES
    ]
    y = keras.layers.Concatenate(name=f"{name}_scales")(branches)
    y = conv_norm_act(
        y, filters=filters, name=f"{name}_join", **{**config.style, "activation": "none"}
    )
    shortcut = conv(x, filters=filters, kernel=1, name=f"{name}_shortcut")
    total = keras.layers.Add(name=f"{name}_add")([shortcut, y])
    return activate(total, kind=config.activation, name=f"{name}_act")


def _halve(image: Any, *, name: str) -> Any:
    pool = keras.layers.AveragePooling2D if rank_of(image) == 2 else keras.layers.AveragePooling3D
    return pool(2, name=name)(image)
