"""Deeply supervised 3D U-Net with fusion of depths. Ye et al. 2019, IEEE Access (whole heart).

A padded U-Net with max-pooling. Each decoder level has a 1x1x1 convolution to logits, upsampled
to full resolution; their concatenation is fused by another one into the answer. The answer and
the levels' logits are all trained, with equal weights. Widths are a preset; the paper's are not
known to us. ``faithful=True`` has batch normalisation and ReLU.
"""

from __future__ import annotations

from functools import partial
from typing import Annotated, Any, ClassVar

import keras
from pydantic import Field

from tfseg.layers import double_conv, resize_like
from tfseg.models.config import output_logits
from tfseg.models.u_shape import UShapeConfig, u_shape


class UNet3DDSConfig(UShapeConfig):
    """Options of :func:`build_unet3d_ds`.

    Attributes:
        base_filters: channels of the finest level; twice as many a level down.
        deep_supervision: train every level's logits, too.
    """

    paper: ClassVar[dict[str, Any]] = {"norm": "batch", "activation": "relu"}

    base_filters: Annotated[int, Field(ge=1, le=512)] = 16
    deep_supervision: bool = True


def build_unet3d_ds(
    input_shape: tuple[int | None, ...], num_classes: int, config: UNet3DDSConfig
) -> Any:
    """Build the network: image (batch, z, y, x, c) -> logits (batch, z, y, x, classes).

    With ``deep_supervision`` the outputs are a list: the fused logits, then those of each
    decoder level, finest first, all at the input's size.

    Raises:
        ConfigError: an input size that the poolings do not divide.
    """
    config.check_size(input_shape[:-1])
    inputs = keras.Input(input_shape, name="image")
    maps = u_shape(inputs, config, encoder_block=partial(double_conv, **config.style))
    heads = []
    for level, x in enumerate(maps):
        head = output_logits(x, num_classes, name=f"logits{level}_coarse")
        heads.append(resize_like(head, inputs, dtype="float32", name=f"logits{level}"))
    fused = heads[0]
    if len(heads) > 1:
        fused = keras.layers.Concatenate(dtype="float32", name="fusion_concat")(heads)
    fused = output_logits(fused, num_classes, name="logits")
    outputs = [fused, *heads] if config.deep_supervision else fused
    return keras.Model(inputs, outputs, name="unet3d_ds")
