"""Attention dense U-Net. Li, Dong, Du, Mu 2019, IEEE Access 7; 2D and 3D from one source.

DenseNet-121 as the encoder, a U-Net's decoder, and an attention gate on every skip connection.
The decoder's widths are ours. With ``faithful=True``: published width, batch normalisation, ReLU.
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

import keras
from pydantic import Field

from tfseg.layers import attention_gate, double_conv, transposed_conv
from tfseg.models.backbones import encoder
from tfseg.models.config import ModelConfig, output_logits
from tfseg.models.u_shape import concat

_STRIDE = 32  # of the encoder's last map


class AttentionDenseUNetConfig(ModelConfig):
    """Options of :func:`build_attention_dense_unet`.

    Attributes:
        backbone: the encoder.
        base_filters: width of the encoder, 64 being the published one; the decoder has 8, 4, 2
            and 1 times as many channels, and half at full resolution.
        norm: normalisation.
        activation: after each normalisation.
    """

    paper: ClassVar[dict[str, Any]] = {
        "base_filters": 64,
        "norm": "batch",
        "activation": "relu",
    }

    backbone: Literal["densenet121", "densenet161"] = "densenet121"
    base_filters: Annotated[int, Field(ge=2, le=256)] = 32
    norm: Literal["instance", "batch", "none"] = "instance"
    activation: Literal["relu", "leaky_relu"] = "leaky_relu"

    def divisor(self, rank: int) -> tuple[int, ...]:
        """Return what each axis of the input must be divisible by."""
        return (_STRIDE,) * rank


def build_attention_dense_unet(
    input_shape: tuple[int | None, ...], num_classes: int, config: AttentionDenseUNetConfig
) -> Any:
    """Build the network: image (batch, [z,] y, x, c) -> logits (batch, [z,] y, x, classes).

    Raises:
        ConfigError: an input size that is not divisible by 32.
    """
    config.check_size(input_shape[:-1])
    inputs = keras.Input(input_shape, name="image")
    style: dict[str, Any] = {"norm": config.norm, "activation": config.activation}
    features = encoder(inputs, config.backbone, base_filters=config.base_filters, **style)
    *skips, (_, x) = features.skips  # strides 2, 4, 8, 16; then 32
    for level, (stride, skip) in reversed(list(enumerate(skips, start=1))):
        name, filters = f"decoder{level}", config.base_filters * stride // 2
        x = transposed_conv(x, filters=filters, stride=2, name=f"up{level}")
        skip = attention_gate(
            skip, x, filters=skip.shape[-1] // 2, project_norm=config.norm, name=f"gate{level}"
        )
        x = double_conv(concat(skip, x, name=name), filters=filters, name=name, **style)
    filters = config.base_filters // 2
    x = transposed_conv(x, filters=filters, stride=2, name="up0")
    x = double_conv(x, filters=filters, name="decoder0", **style)
    logits = output_logits(x, num_classes, name="logits")
    return keras.Model(inputs, logits, name="attention_dense_unet")
