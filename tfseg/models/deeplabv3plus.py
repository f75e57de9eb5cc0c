"""DeepLab v3+. Chen et al. 2018, arXiv:1802.02611; 2D and 3D from one source.

DeepLab v3's encoder and pyramid, and a small decoder: their result, upsampled, beside a fine map
of few channels. With ``faithful=True``: Xception-65 with batch normalisation at output stride 16,
separable convolutions in pyramid and decoder, rates 6, 12, 18, 256 channels, and the encoder's
map of stride 4 reduced to 48 channels. The default is ResNet-18 at output stride 8 with plain
convolutions, instance normalisation and lower rates; its fine map has stride 2.
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

import keras
from pydantic import Field, ValidationInfo, field_validator

from tfseg.layers import aspp, conv_norm_act, resize_like, separable_conv
from tfseg.models.encoded import EncodedConfig, classify

_FINE_SHARE = 48 / 64  # channels of the fine map over base_filters


class DeepLabV3PlusConfig(EncodedConfig):
    """Options of :func:`build_deeplabv3plus`.

    Attributes:
        output_stride: of the encoder's last stage.
        fine_stride: of the encoder's map that the decoder takes; less than ``output_stride``.
        rates: dilations of the pyramid, in voxels of the encoder's last map.
        head_factor: channels of pyramid and decoder over ``base_filters``.
        separable: use depthwise separable 3x3 convolutions in pyramid and decoder.
        dropout: after the pyramid and before the logits.
    """

    paper: ClassVar[dict[str, Any]] = {
        "backbone": "xception65",
        "base_filters": 64,
        "norm": "batch",
        "activation": "relu",
        "output_stride": 16,
        "fine_stride": 4,
        "rates": (6, 12, 18),
        "separable": True,
    }

    output_stride: Literal[4, 8, 16, 32] = 8
    fine_stride: Literal[2, 4, 8] = 2
    rates: tuple[Annotated[int, Field(ge=1, le=64)], ...] = (2, 4, 8)
    head_factor: Annotated[int, Field(ge=1, le=16)] = 4
    separable: bool = False
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.1

    @field_validator("fine_stride")
    @classmethod
    def _finer(cls, fine_stride: int, info: ValidationInfo) -> int:
        output_stride = info.data.get("output_stride")
        if output_stride is not None and fine_stride >= output_stride:
            raise ValueError(f"must be less than output_stride, which is {output_stride}")
        return fine_stride


def build_deeplabv3plus(
    input_shape: tuple[int | None, ...], num_classes: int, config: DeepLabV3PlusConfig
) -> Any:
    """Build the network: image (batch, [z,] y, x, c) -> logits (batch, [z,] y, x, classes).

    Any input size fits.

    Raises:
        ConfigError: an encoder without a map of ``fine_stride``.
    """
    filters = config.head_factor * config.base_filters
    inputs = keras.Input(input_shape, name="image")
    features = config.encode(inputs, config.output_stride)
    x = aspp(
        features.last,
        rates=config.rates,
        filters=filters,
        separable=config.separable,
        name="aspp",
        **config.style,
    )
    x = conv_norm_act(x, filters=filters, kernel=1, name="project", **config.style)
    if config.dropout:
        x = keras.layers.Dropout(config.dropout, name="project_dropout")(x)

    fine = conv_norm_act(
        features.skip(config.fine_stride),
        filters=max(1, int(_FINE_SHARE * config.base_filters)),
        kernel=1,
        name="fine",
        **config.style,
    )
    x = resize_like(x, fine, name="project_up")
    x = keras.layers.Concatenate(name="decoder_concat")([x, fine])
    convolve = separable_conv if config.separable else conv_norm_act
    for number in (1, 2):
        x = convolve(x, filters=filters, name=f"decoder_{number}", **config.style)
    logits = classify(x, inputs, num_classes, dropout=config.dropout, name="logits")
    return keras.Model(inputs, logits, name="deeplabv3plus")
