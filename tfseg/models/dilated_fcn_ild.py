"""Dilated FCN. Anthimopoulos et al. 2018, arXiv:1803.06167; 2D and 3D from one source.

For the patterns of interstitial lung disease: ten 3x3 convolutions of growing dilation at full
resolution, and a classifier that sees the outputs of all of them. The first rates are ours; with
them a voxel sees 1 + 2 * 143 = 287 voxels along each axis.
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

import keras
from pydantic import Field

from tfseg.layers import conv_norm_act
from tfseg.models.config import ModelConfig, output_logits


class DilatedFCNConfig(ModelConfig):
    """Options of :func:`build_dilated_fcn_ild`.

    Attributes:
        base_filters: channels of every layer.
        rates: dilation of each layer.
        norm: after each convolution.
        activation: after each norm.
        dropout: before the classifier.
    """

    paper: ClassVar[dict[str, Any]] = {"activation": "relu", "dropout": 0.5}

    base_filters: Annotated[int, Field(ge=1, le=256)] = 32
    rates: Annotated[tuple[Annotated[int, Field(ge=1, le=256)], ...], Field(min_length=1)] = (
        1, 1, 2, 3, 5, 8, 13, 21, 34, 55,
    )  # fmt: skip
    norm: Literal["instance", "batch", "none"] = "instance"
    activation: Literal["relu", "leaky_relu"] = "leaky_relu"
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.1


def build_dilated_fcn_ild(
    input_shape: tuple[int | None, ...], num_classes: int, config: DilatedFCNConfig
) -> Any:
    """Build the network: image (batch, [z,] y, x, c) -> logits (batch, [z,] y, x, classes).

    Any input size fits; nothing is downsampled.
    """
    inputs = x = keras.Input(input_shape, name="image")
    outputs = []
    for index, rate in enumerate(config.rates):
        x = conv_norm_act(
            x,
            filters=config.base_filters,
            dilation=rate,
            norm=config.norm,
            activation=config.activation,
            name=f"layer{index + 1}",
        )
        outputs.append(x)
    if len(outputs) > 1:
        x = keras.layers.Concatenate(name="concat")(outputs)
    if config.dropout:
        x = keras.layers.Dropout(config.dropout, name="dropout")(x)
    return keras.Model(inputs, output_logits(x, num_classes, name="logits"), name="dilated_fcn_ild")
