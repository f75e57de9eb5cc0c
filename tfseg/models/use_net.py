"""USE-Net. Rundo et al. 2019, arXiv:1904.08254; 2D and 3D from one source.

A U-Net with squeeze-and-excitation at the end of every block of the encoder, or of encoder and
decoder, which the authors found best across hospitals. With ``faithful=True``: 64 to 1024
channels, batch normalisation, ReLU, biases. Reduction 8 and the place of the normalisation are
our reading of the paper.
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

import keras
from pydantic import Field

from tfseg.layers import double_conv, squeeze_excite
from tfseg.models.config import output_logits
from tfseg.models.u_shape import UShapeConfig, u_shape


class USENetConfig(UShapeConfig):
    """Options of :func:`build_use_net`, besides those of the U shape.

    Attributes:
        squeeze: the blocks that end with squeeze-and-excitation.
        reduction: channels over those of the squeezed layer.
        dropout: share of each block's channels' values dropped in training.
    """

    paper: ClassVar[dict[str, Any]] = {
        "base_filters": 64,
        "norm": "batch",
        "activation": "relu",
        "bias": True,
    }

    squeeze: Literal["encoder", "encoder_decoder", "none"] = "encoder_decoder"
    reduction: Annotated[int, Field(ge=1, le=64)] = 8
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0


def build_use_net(
    input_shape: tuple[int | None, ...], num_classes: int, config: USENetConfig
) -> Any:
    """Build the network: image (batch, [z,] y, x, c) -> logits (batch, [z,] y, x, classes).

    Raises:
        ConfigError: an input size that the poolings do not divide.
    """
    config.check_size(input_shape[:-1])
    inputs = keras.Input(input_shape, name="image")

    def plain(x: Any, *, filters: int, name: str) -> Any:
        x = double_conv(x, filters=filters, name=name, **config.style)
        if config.dropout:
            x = keras.layers.Dropout(config.dropout, name=f"{name}_dropout")(x)
        return x

    def squeezed(x: Any, *, filters: int, name: str) -> Any:
        x = plain(x, filters=filters, name=name)
        return squeeze_excite(x, reduction=config.reduction, name=f"{name}_se")

    maps = u_shape(
        inputs,
        config,
        encoder_block=plain if config.squeeze == "none" else squeezed,
        decoder_block=squeezed if config.squeeze == "encoder_decoder" else plain,
    )
    logits = output_logits(maps[0], num_classes, name="logits")
    return keras.Model(inputs, logits, name="use_net")
