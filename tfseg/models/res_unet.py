"""Weighted Res-UNet. Xiao, Lian, Luo, Li 2018, doi:10.1109/ITME.2018.00080; 2D and 3D.

A U-Net of residual units whose decoder sees each concatenated map times 1 + a, a being a learned
weight in (0, 1) per voxel. The paper's exact form of the attention is not published in full; this
one is ours. With ``faithful=True``: 64 to 1024 channels, batch normalisation, ReLU, biases.
"""

from __future__ import annotations

import functools
from typing import Any, ClassVar

import keras

from tfseg.layers import conv, residual_unit
from tfseg.models.config import output_logits
from tfseg.models.u_shape import UShapeConfig, concat, u_shape


class ResUNetConfig(UShapeConfig):
    """Options of :func:`build_res_unet`, besides those of the U shape.

    Attributes:
        attention: weigh the concatenated maps; without it, a plain residual U-Net.
    """

    paper: ClassVar[dict[str, Any]] = {
        "base_filters": 64,
        "norm": "batch",
        "activation": "relu",
        "bias": True,
    }

    attention: bool = True


def build_res_unet(
    input_shape: tuple[int | None, ...], num_classes: int, config: ResUNetConfig
) -> Any:
    """Build the network: image (batch, [z,] y, x, c) -> logits (batch, [z,] y, x, classes).

    Raises:
        ConfigError: an input size that the poolings do not divide.
    """
    config.check_size(input_shape[:-1])
    inputs = keras.Input(input_shape, name="image")
    unit = functools.partial(residual_unit, **config.style)
    join = _weighted_concat if config.attention else concat
    maps = u_shape(inputs, config, encoder_block=unit, join=join)
    logits = output_logits(maps[0], num_classes, name="logits")
    return keras.Model(inputs, logits, name="res_unet")


def _weighted_concat(skip: Any, x: Any, *, name: str) -> Any:
    """Return both (1 + a), a = sigmoid(conv1(both)): one weight a voxel."""
    both = concat(skip, x, name=name)
    weight = conv(both, filters=1, kernel=1, name=f"{name}_attention")
    weight = keras.layers.Activation("sigmoid", name=f"{name}_alpha")(weight)
    more = keras.layers.Multiply(name=f"{name}_weighted")([both, weight])
    return keras.layers.Add(name=f"{name}_sum")([both, more])
