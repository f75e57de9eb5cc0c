"""FCN-32s, FCN-16s, FCN-8s. Long, Shelhamer, Darrell 2014, arXiv:1411.4038; 2D and 3D.

A classification network made convolutional: class scores of stride 32, upsampled; FCN-16s and
FCN-8s first add the scores of finer stages. The three share the names of their layers, so each
can start from the weights of the one before, as the paper trains them.

With ``faithful=True``: VGG-16 without normalisation, the image padded by 100, fc6 of 7x7 and
4096 channels, and learned transposed convolutions. The paper keeps the last of those at linear
interpolation (``upsampling="fixed"`` keeps all) and starts the scores at zero; here scores start
as any convolution does. The default has instance normalisation, a smaller fc6, no padding (a
stage of stride s has ceil(n / s) voxels) and linear upsampling.
"""

from __future__ import annotations

from functools import partial
from typing import Annotated, Any, ClassVar, Literal

import keras
from pydantic import Field, ValidationInfo, field_validator

from tfseg.layers import CropAt, ZeroMargin, conv, conv_norm_act, linear_deconv, resize_like
from tfseg.models.backbones import EncoderName, Features
from tfseg.models.encoded import EncodedConfig

_COARSEST = 32
_PAD = 100
_PADDED_KERNEL = 7  # of fc6, for which the offsets below hold
# Where the map that fits lies in the larger one, as the padding of 100, the poolings and the
# unpadded fc6 and upsampling shift it: voxel o of the 32s' upsampled scores is centred on image
# voxel o - 19, and so on.
_SKIP_OFFSET = {16: 5, 8: 9}
_IMAGE_OFFSET = {32: 19, 16: 27, 8: 31}


class FCNConfig(EncodedConfig):
    """Options of :func:`build_fcn32s`, :func:`build_fcn16s` and :func:`build_fcn8s`.

    Attributes:
        fc_kernel: edge length of fc6's kernel.
        fc_factor: channels of fc6 and fc7 over ``base_filters``.
        dropout: after fc6 and after fc7.
        upsampling: of the scores: ``learned`` transposed convolutions that start as linear
            interpolation; ``fixed``, which stay so; or ``linear`` resizing, which does not take
            the outside of the map for zero.
        pad100: pad the image by 100 and fc6 by nothing, as the paper does so that any size fits.
            Needs VGG, ``fc_kernel`` 7, and upsampling by transposed convolutions.
    """

    paper: ClassVar[dict[str, Any]] = {
        "backbone": "vgg16",
        "base_filters": 64,
        "norm": "none",
        "activation": "relu",
        "fc_kernel": 7,
        "fc_factor": 64,
        "dropout": 0.5,
        "upsampling": "learned",
        "pad100": True,
    }

    backbone: EncoderName = "vgg16"
    fc_kernel: Annotated[int, Field(ge=1, le=15)] = 3
    fc_factor: Annotated[int, Field(ge=1, le=64)] = 16
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.1
    upsampling: Literal["learned", "fixed", "linear"] = "linear"
    pad100: bool = False

    @field_validator("pad100")
    @classmethod
    def _pad100_goes_with(cls, pad100: bool, info: ValidationInfo) -> bool:
        chosen = info.data
        fits = (
            str(chosen.get("backbone")).startswith("vgg")
            and chosen.get("fc_kernel") == _PADDED_KERNEL
            and chosen.get("upsampling") != "linear"
        )
        if pad100 and not fits:
            raise ValueError(
                f"needs backbone vgg16 or vgg19, fc_kernel {_PADDED_KERNEL} and upsampling learned "
                "or fixed; set those, or leave it out"
            )
        return pad100


def _build(
    stride: int, input_shape: tuple[int | None, ...], num_classes: int, config: FCNConfig
) -> Any:
    """Build the network: image (batch, [z,] y, x, c) -> logits (batch, [z,] y, x, classes).

    Any input size fits.
    """
    inputs = keras.Input(input_shape, name="image")
    logits = fcn_logits(inputs, num_classes, config, stride=stride)
    return keras.Model(inputs, logits, name=f"fcn{stride}s")


build_fcn32s = partial(_build, 32)
build_fcn16s = partial(_build, 16)
build_fcn8s = partial(_build, 8)


def fcn_logits(
    image: Any, num_classes: int, config: FCNConfig, *, stride: int, prefix: str = ""
) -> Any:
    """Return the logits of ``image`` (batch, [z,] y, x, c), at its size, in float32.

    Args:
        image: of any size.
        num_classes: channels of the logits.
        config: of the network.
        stride: of the finest scores that are added: 32, 16 or 8.
        prefix: before the layers' names.
    """
    features = config.encode(_padded(image, config, f"{prefix}pad"), _COARSEST, prefix=prefix)
    x = features.last
    for name, kernel in (("fc6", config.fc_kernel), ("fc7", 1)):
        x = conv_norm_act(
            x,
            filters=config.fc_factor * config.base_filters,
            kernel=kernel,
            padding="valid" if config.pad100 else "same",
            name=f"{prefix}{name}",
            **config.style,
        )
        if config.dropout:
            x = keras.layers.Dropout(config.dropout, name=f"{prefix}{name}_dropout")(x)
    scores = conv(x, filters=num_classes, kernel=1, name=f"{prefix}score{_COARSEST}")
    for finer in (16, 8):
        if finer >= stride:
            scores = _fuse(scores, features, finer, config, name=f"{prefix}score{finer}")
    offset = _IMAGE_OFFSET[stride]
    return _upsample(scores, image, stride, offset, f"{prefix}logits", config, dtype="float32")


def _padded(image: Any, config: FCNConfig, name: str) -> Any:
    if not config.pad100:
        return image
    return ZeroMargin(_PAD - 1, name=name)(image)  # the first convolution pads by 1 itself


def _fuse(scores: Any, features: Features, stride: int, config: FCNConfig, *, name: str) -> Any:
    """Add the scores of the stage of ``stride`` to those of twice that stride."""
    skip = conv(features.at(stride), filters=scores.shape[-1], kernel=1, name=name)
    if config.pad100:
        scores = _deconv(scores, 2, f"{name}_up", config)
        skip = CropAt(_SKIP_OFFSET[stride], name=f"{name}_crop")([skip, scores])
    else:
        scores = _upsample(scores, skip, 2, 0, f"{name}_up", config)
    return keras.layers.Add(name=f"{name}_sum")([skip, scores])


def _upsample(
    scores: Any,
    reference: Any,
    stride: int,
    offset: int,
    name: str,
    config: FCNConfig,
    dtype: str | None = None,
) -> Any:
    """Bring scores to the grid of ``reference``, of which ``offset`` is counted if padded."""
    if config.upsampling == "linear":
        return resize_like(scores, reference, dtype=dtype, name=name)
    scores = _deconv(scores, stride, f"{name}_deconv", config, dtype)
    offset = offset if config.pad100 else 0
    return CropAt(offset, dtype=dtype, name=name)([scores, reference])


def _deconv(
    scores: Any, stride: int, name: str, config: FCNConfig, dtype: str | None = None
) -> Any:
    return linear_deconv(
        scores,
        stride=stride,
        padding="valid" if config.pad100 else "same",
        trainable=config.upsampling == "learned",
        dtype=dtype,
        name=name,
    )
