"""Deeply supervised residual U-Net for vessels. Zhang, Chung 2018, arXiv:1806.02132; 2D and 3D.

Residual units and a head at every level of the decoder, all trained at full resolution. The
authors train it on five classes, background, thick and thin vessels, and a band around each:
``tfseg.preprocess.vessel_labels`` makes them from a vessel mask and takes them back. Widths are
ours. With ``faithful=True``: batch normalisation, ReLU, biases.
"""

from __future__ import annotations

import functools
from typing import Any, ClassVar

import keras

from tfseg.layers import residual_unit, resize_like
from tfseg.models.config import output_logits
from tfseg.models.u_shape import UShapeConfig, u_shape


class VesselDSUNetConfig(UShapeConfig):
    """Options of :func:`build_vessel_ds_unet`, besides those of the U shape.

    Attributes:
        deep_supervision: train with a head at every level of the decoder.
    """

    paper: ClassVar[dict[str, Any]] = {"norm": "batch", "activation": "relu", "bias": True}

    deep_supervision: bool = True


def build_vessel_ds_unet(
    input_shape: tuple[int | None, ...], num_classes: int, config: VesselDSUNetConfig
) -> Any:
    """Build the network: image (batch, [z,] y, x, c) -> logits (batch, [z,] y, x, classes).

    With ``deep_supervision`` the outputs are depth - 1 such logits, of the finest level first.

    Raises:
        ConfigError: an input size that the poolings do not divide.
    """
    config.check_size(input_shape[:-1])
    inputs = keras.Input(input_shape, name="image")
    unit = functools.partial(residual_unit, **config.style)
    maps = u_shape(inputs, config, encoder_block=unit)
    logits = [output_logits(maps[0], num_classes, name="logits0")]
    if config.deep_supervision:
        for level, x in enumerate(maps[1:], start=1):
            coarse = output_logits(x, num_classes, name=f"logits{level}_coarse")
            logits.append(resize_like(coarse, inputs, dtype="float32", name=f"logits{level}"))
    outputs = logits if len(logits) > 1 else logits[0]
    return keras.Model(inputs, outputs, name="vessel_ds_unet")
