"""SegResNet. Myronenko 2018, arXiv:1810.11654 (first at BraTS 2018); 3D, and the same in 2D.

An asymmetric U-shape of pre-activated residual blocks: 1, 2, 2 and 4 on the way down, one a
level on the way up; strided convolutions down, 1x1 convolution and linear interpolation up,
skips added. With ``faithful=True``: 32 channels, group normalisation in 8 groups, ReLU, and
dropout of whole channels, 0.2, after the first convolution. The default has instance
normalisation and no dropout. The paper's autoencoder branch is a way of training, not part of
the network that answers; :mod:`tfseg.models.segresnet_vae` has it.
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

import keras
from pydantic import Field, ValidationInfo, field_validator

from tfseg.layers import activate, conv, norm_act_conv, normalise, rank_of, resize_like
from tfseg.models.config import ModelConfig, output_logits

_Counts = tuple[Annotated[int, Field(ge=1, le=16)], ...]


class SegResNetConfig(ModelConfig):
    """Options of :func:`build_segresnet`.

    Attributes:
        base_filters: channels of the finest level; twice as many a level down.
        encoder: residual blocks of each level on the way down, the bottom included.
        decoder: residual blocks of each level on the way up; one level fewer.
        dropout: rate, of whole channels, after the first convolution.
    """

    paper: ClassVar[dict[str, Any]] = {
        "base_filters": 32,
        "norm": "group",
        "activation": "relu",
        "dropout": 0.2,
    }

    base_filters: Annotated[int, Field(ge=1, le=512)] = 16
    encoder: Annotated[_Counts, Field(min_length=2, max_length=7)] = (1, 2, 2, 4)
    decoder: Annotated[_Counts, Field(validate_default=True)] = (1, 1, 1)
    norm: Literal["instance", "batch", "group", "none"] = "instance"
    activation: Literal["relu", "leaky_relu"] = "leaky_relu"
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0

    @field_validator("decoder")
    @classmethod
    def _paired(cls, decoder: tuple[int, ...], info: ValidationInfo) -> tuple[int, ...]:
        encoder = info.data.get("encoder")
        if encoder is not None and len(decoder) != len(encoder) - 1:
            raise ValueError(f"must have one level fewer than encoder, {encoder}")
        return decoder

    def divisor(self, rank: int) -> tuple[int, ...]:
        """Return what each axis of the input must be divisible by."""
        return (2 ** len(self.decoder),) * rank


def build_segresnet(
    input_shape: tuple[int | None, ...], num_classes: int, config: SegResNetConfig
) -> Any:
    """Build the network: image (batch, [z,] y, x, c) -> logits (batch, [z,] y, x, classes).

    Raises:
        ConfigError: an input size that the strides do not divide.
    """
    config.check_size(input_shape[:-1])
    inputs = keras.Input(input_shape, name="image")
    maps = encode(inputs, config)
    logits = segmentation_logits(decode(maps[-1], maps, config), num_classes, config)
    return keras.Model(inputs, logits, name="segresnet")


def encode(x: Any, config: SegResNetConfig) -> list[Any]:
    """Return the map of each level of the encoder on ``x``, finest first."""
    bias = config.norm == "none"
    x = conv(x, filters=config.base_filters, bias=bias, name="first")
    if config.dropout:
        drop = keras.layers.SpatialDropout2D if rank_of(x) == 2 else keras.layers.SpatialDropout3D
        x = drop(config.dropout, name="first_dropout")(x)
    maps = []
    for level, blocks in enumerate(config.encoder):
        if level:
            filters = config.base_filters * 2**level
            x = conv(
                x, filters=filters, stride=2, padding="symmetric", bias=bias, name=f"down{level}"
            )
        x = _blocks(x, blocks, config, name=f"encoder{level}")
        maps.append(x)
    return maps


def decode(
    x: Any, maps: list[Any], config: SegResNetConfig, *, prefix: str = "", skip: bool = True
) -> Any:
    """Bring ``x`` from the size of the encoder's coarsest map to that of its finest.

    Args:
        x: of the coarsest map's shape.
        maps: of the encoder.
        config: of the network.
        prefix: before the layers' names.
        skip: add the encoder's maps.
    """
    bias = config.norm == "none"
    for level, blocks in zip(reversed(range(len(config.decoder))), config.decoder, strict=True):
        name = f"{prefix}up{level}"
        x = conv(x, filters=x.shape[-1] // 2, kernel=1, bias=bias, name=f"{name}_narrow")
        x = resize_like(x, maps[level], name=name)
        if skip:
            x = keras.layers.Add(name=f"{name}_add")([x, maps[level]])
        x = _blocks(x, blocks, config, name=f"{prefix}decoder{level}")
    return x


def segmentation_logits(x: Any, num_classes: int, config: SegResNetConfig) -> Any:
    """Return the logits of the decoder's last map."""
    x = normalise(x, kind=config.norm, name="head_norm")
    x = activate(x, kind=config.activation, name="head_act")
    return output_logits(x, num_classes, name="logits")


def _blocks(x: Any, blocks: int, config: SegResNetConfig, *, name: str) -> Any:
    """Residual blocks: twice norm, activation, convolution, and the identity."""
    style: dict[str, Any] = {
        "filters": x.shape[-1], "norm": config.norm, "activation": config.activation,
    }  # fmt: skip
    for number in range(1, blocks + 1):
        y = norm_act_conv(x, name=f"{name}_{number}a", **style)
        y = norm_act_conv(y, name=f"{name}_{number}b", **style)
        x = keras.layers.Add(name=f"{name}_{number}_add")([x, y])
    return x
