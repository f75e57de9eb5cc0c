"""FCN with a pyramid pooling module. Yang et al. 2018, doi:10.1109/ICPR.2018.8545143; 2D and 3D.

"3D FCN PPM", for kidney and renal tumour in CT angiography: a small encoder-decoder whose
deepest map learns of its surroundings from averages over 1, 2, 3 and 6 cells along each axis. The
publication leaves the widths open: ours are 32, 64, 128. ``faithful=True`` has batch
normalisation and ReLU; the default instance normalisation.
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

import keras
from pydantic import Field

from tfseg.layers import (
    conv_norm_act,
    double_conv,
    downsample,
    pyramid_pooling,
    transposed_conv,
)
from tfseg.models.config import ModelConfig, output_logits


class FCNPPMConfig(ModelConfig):
    """Options of :func:`build_fcn_ppm_3d`.

    Attributes:
        base_filters: channels of the finest level, which double with each level.
        depth: number of levels.
        bins: cells an axis of each pyramid level.
        norm: after each convolution.
        activation: after each norm.
    """

    paper: ClassVar[dict[str, Any]] = {"norm": "batch", "activation": "relu"}

    base_filters: Annotated[int, Field(ge=1, le=256)] = 32
    depth: Annotated[int, Field(ge=2, le=6)] = 3
    bins: tuple[Annotated[int, Field(ge=1, le=64)], ...] = (1, 2, 3, 6)
    norm: Literal["instance", "batch", "none"] = "instance"
    activation: Literal["relu", "leaky_relu"] = "leaky_relu"

    def divisor(self, rank: int) -> tuple[int, ...]:
        """Return what the poolings ask each axis to be divisible by."""
        return (2 ** (self.depth - 1),) * rank


def build_fcn_ppm_3d(
    input_shape: tuple[int | None, ...], num_classes: int, config: FCNPPMConfig
) -> Any:
    """Build the network: image (batch, [z,] y, x, c) -> logits (batch, [z,] y, x, classes).

    Raises:
        ConfigError: an input size that the poolings do not divide.
    """
    config.check_size(input_shape[:-1])
    style: dict[str, Any] = {"norm": config.norm, "activation": config.activation}
    widths = [config.base_filters * 2**level for level in range(config.depth)]

    inputs = x = keras.Input(input_shape, name="image")
    skips = []
    for level, filters in enumerate(widths):
        if level:
            x = downsample(x, stride=2, name=f"pool{level}")
        x = double_conv(x, filters=filters, name=f"encoder{level}", **style)
        skips.append(x)
    x = pyramid_pooling(x, bins=config.bins, name="pyramid", **style)
    x = conv_norm_act(x, filters=widths[-1], name="context", **style)
    for level in reversed(range(config.depth - 1)):
        x = transposed_conv(x, filters=widths[level], stride=2, name=f"up{level}")
        x = keras.layers.Concatenate(name=f"decoder{level}_concat")([skips[level], x])
        x = double_conv(x, filters=widths[level], name=f"decoder{level}", **style)
    return keras.Model(inputs, output_logits(x, num_classes, name="logits"), name="fcn_ppm_3d")
