"""Attention-guided U-Net. Lian, Luo, Zhong, Li 2018, doi:10.1016/j.jvcir.2018.10.001; 2D and 3D.

A small regressor finds the bounding box of the object; the U-Net sees the image times a mask of
that box. The mask is soft (:class:`tfseg.layers.SoftBox`), so the segmentation's loss alone can
train the regressor. Widths are ours. With ``faithful=True``: batch normalisation and ReLU.
"""

from __future__ import annotations

import functools
from typing import Annotated, Any, ClassVar

import keras
from pydantic import Field

from tfseg.layers import SoftBox, conv_norm_act, double_conv, rank_of
from tfseg.models.config import output_logits
from tfseg.models.u_shape import UShapeConfig, u_shape

_STAGES = 4  # strided convolutions of the regressor
_OPEN = 2.0  # before the sigmoid: at first a box has edges of sigmoid(2) = 0.88 of the image's


class AttnGuidedUNetConfig(UShapeConfig):
    """Options of :func:`build_attn_guided_unet`, besides those of the U shape.

    Attributes:
        sharpness: of the mask's edges, see :class:`tfseg.layers.SoftBox`.
    """

    paper: ClassVar[dict[str, Any]] = {"norm": "batch", "activation": "relu"}

    sharpness: Annotated[float, Field(gt=0, le=1000)] = 40.0


def build_attn_guided_unet(
    input_shape: tuple[int | None, ...], num_classes: int, config: AttnGuidedUNetConfig
) -> Any:
    """Build the network: image (batch, [z,] y, x, c) -> logits (batch, [z,] y, x, classes).

    The layer ``box`` holds the box (centre, then edges, as shares of the image, axes in order),
    the layer ``mask`` what it lets through.

    Raises:
        ConfigError: an input size that the poolings do not divide.
    """
    config.check_size(input_shape[:-1])
    inputs = keras.Input(input_shape, name="image")
    mask = SoftBox(config.sharpness, name="mask")([_box(inputs, config), inputs])
    x = keras.layers.Multiply(name="masked")([inputs, mask])
    block = functools.partial(double_conv, **config.style)
    maps = u_shape(x, config, encoder_block=block)
    logits = output_logits(maps[0], num_classes, name="logits")
    return keras.Model(inputs, logits, name="attn_guided_unet")


def _box(x: Any, config: AttnGuidedUNetConfig) -> Any:
    """Regress the box: (batch, 2 * rank) in (0, 1)."""
    rank = rank_of(x)
    for stage in range(_STAGES):
        x = conv_norm_act(
            x, filters=config.filters(stage), stride=2, name=f"box{stage + 1}", **config.style
        )
    pool = keras.layers.GlobalAveragePooling2D if rank == 2 else keras.layers.GlobalAveragePooling3D
    x = pool(name="box_pool")(x)  # (batch, channels)
    x = keras.layers.Dense(
        4 * config.base_filters, "relu", kernel_initializer="he_normal", name="box_dense"
    )(x)
    opened = keras.initializers.Constant([0.0] * rank + [_OPEN] * rank)
    return keras.layers.Dense(
        2 * rank, "sigmoid", bias_initializer=opened, dtype="float32", name="box"
    )(x)
