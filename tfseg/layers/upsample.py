"""Upsampling without weights by whole factors, in 2D and 3D."""

from __future__ import annotations

from typing import Any

import keras

from tfseg.layers.conv import Size
from tfseg.layers.shape import rank_of


def nearest_upsample(x: Any, *, factor: Size, name: str) -> Any:
    """Repeat every voxel of (batch, [z,] y, x, c) ``factor`` times along each spatial axis."""
    layer = keras.layers.UpSampling2D if rank_of(x) == 2 else keras.layers.UpSampling3D
    return layer(factor, name=name)(x)
