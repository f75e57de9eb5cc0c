"""DeepLab v1 (LargeFOV). Chen et al. 2014, arXiv:1412.7062; 2D and 3D from one source.

VGG-16 whose last two poolings keep the resolution, with dilation from there on; fc6 is a 3x3
convolution of dilation 12, which sees as far as the 7x7 one it replaces. The logits are upsampled
linearly; the paper's dense CRF is a step of its own. With ``faithful=True``: no normalisation,
1024 channels, output stride 8 (the paper's other forms: ``fc_kernel=7 fc_rate=4 fc_factor=64``,
``fc_kernel=4 fc_rate=4 fc_factor=64``). The default is narrower, at output stride 4, with instance
normalisation.
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

import keras
from pydantic import Field

from tfseg.layers import conv_norm_act
from tfseg.models.backbones import EncoderName
from tfseg.models.encoded import EncodedConfig, classify


class DeepLabV1Config(EncodedConfig):
    """Options of :func:`build_deeplabv1`.

    Attributes:
        output_stride: of the encoder; the logits are upsampled by it.
        fc_kernel: edge length of fc6's kernel.
        fc_rate: dilation of fc6, in voxels of the encoder's map.
        fc_factor: channels of fc6 and fc7 over ``base_filters``.
        dropout: after fc6 and after fc7.
    """

    paper: ClassVar[dict[str, Any]] = {
        "base_filters": 64,
        "norm": "none",
        "activation": "relu",
        "output_stride": 8,
        "fc_rate": 12,
        "dropout": 0.5,
    }

    backbone: EncoderName = "vgg16"
    output_stride: Literal[2, 4, 8, 16, 32] = 4
    fc_kernel: Annotated[int, Field(ge=1, le=15)] = 3
    fc_rate: Annotated[int, Field(ge=1, le=64)] = 4
    fc_factor: Annotated[int, Field(ge=1, le=64)] = 16
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.1


def build_deeplabv1(
    input_shape: tuple[int | None, ...], num_classes: int, config: DeepLabV1Config
) -> Any:
    """Build the network: image (batch, [z,] y, x, c) -> logits (batch, [z,] y, x, classes).

    Any input size fits. The layer ``logits_coarse`` holds the logits before upsampling.
    """
    filters = config.fc_factor * config.base_filters
    inputs = keras.Input(input_shape, name="image")
    x = config.encode(inputs, config.output_stride).last
    x = conv_norm_act(
        x,
        filters=filters,
        kernel=config.fc_kernel,
        dilation=config.fc_rate,
        name="fc6",
        **config.style,
    )
    if config.dropout:
        x = keras.layers.Dropout(config.dropout, name="fc6_dropout")(x)
    x = conv_norm_act(x, filters=filters, kernel=1, name="fc7", **config.style)
    logits = classify(x, inputs, num_classes, dropout=config.dropout, name="logits")
    return keras.Model(inputs, logits, name="deeplabv1")
