"""3D U-Net. Cicek et al. 2016, arXiv:1606.06650; and the form of it that labels sulci.

Four levels. The channels double before each pooling, not after, so that no bottleneck is too
narrow; transposed convolutions keep them. With ``faithful=True`` the convolutions are unpadded
and skips are cropped: 132 x 132 x 116 voxels become 44 x 44 x 28. (``tfseg train`` mirrors
patches at their borders for it, so that it answers for the whole patch.) The published 19,069,955
parameters are the kernels, the last bias, and one number for each normalised channel; here that
is the shift after the normalisation. (Its factor, of which the paper also speaks, would be a
further 2,336; ReLU and pooling let the next convolution take it over.) The default is padded,
with instance normalisation.

Sparse annotation, the paper's setting, is a matter of the labels: mark unlabelled voxels as
ignored and train as usual.

``sulci_unet3d`` is the padded network with group normalisation and nearest-neighbour upsampling
with which Borne et al. (2020, doi:10.1016/j.media.2020.101651) label cortical folds; they
normalise after the ReLU, here it is before.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, ClassVar, Literal

import keras
from pydantic import Field

from tfseg.errors import ConfigError
from tfseg.layers import (
    activate,
    conv,
    crop_and_concat,
    downsample,
    nearest_upsample,
    normalise,
    transposed_conv,
)
from tfseg.models.config import ModelConfig, output_logits

_LEVELS = 4
_SMALLEST_VALID = 92  # 8 (b + 4) + 4 (4 + 2 + 1) for a bottom of b = 4 voxels; the answer has 4
_VALID_MARGIN = 88  # voxels that the answer is shorter


class UNet3DConfig(ModelConfig):
    """Options of :func:`build_unet3d`.

    Attributes:
        base_filters: channels of the first convolution; the bottom has 16 times as many.
        norm: ``batch_shift`` is batch normalisation with a learned shift, but no factor.
        padding: ``valid`` returns fewer voxels than it takes.
        upsampling: transposed convolution, or repeated voxels.
    """

    paper: ClassVar[dict[str, Any]] = {
        "norm": "batch_shift",
        "activation": "relu",
        "padding": "valid",
    }

    base_filters: Annotated[int, Field(ge=1, le=256)] = 32
    norm: Literal["instance", "batch", "batch_shift", "group", "none"] = "instance"
    activation: Literal["relu", "leaky_relu"] = "leaky_relu"
    padding: Literal["same", "valid"] = "same"
    upsampling: Literal["transposed", "nearest"] = "transposed"

    def divisor(self, rank: int) -> tuple[int, ...]:
        """Return what each axis of a padded network's input must be divisible by."""
        return (2 ** (_LEVELS - 1),) * rank

    def wider_input(self, spatial: Sequence[int]) -> tuple[int, ...]:
        """Return the smallest input size whose output covers ``spatial``."""
        if self.padding == "same":
            return tuple(spatial)
        return tuple(_smallest_valid(size + _VALID_MARGIN) for size in spatial)


class SulciUNet3DConfig(UNet3DConfig):
    """Options of :func:`build_sulci_unet3d`; see :class:`UNet3DConfig`."""

    paper: ClassVar[dict[str, Any]] = {"base_filters": 64, "activation": "relu"}

    norm: Literal["instance", "batch", "batch_shift", "group", "none"] = "group"
    upsampling: Literal["transposed", "nearest"] = "nearest"


def build_unet3d(
    input_shape: tuple[int | None, ...], num_classes: int, config: UNet3DConfig
) -> Any:
    """Build the network: image (batch, z, y, x, c) -> logits (batch, z, y, x, classes).

    With ``padding="valid"`` each axis of the output is 88 voxels shorter.

    Raises:
        ConfigError: an input size that the poolings do not divide.
    """
    return _build(input_shape, num_classes, config, "unet3d")


def build_sulci_unet3d(
    input_shape: tuple[int | None, ...], num_classes: int, config: SulciUNet3DConfig
) -> Any:
    """As :func:`build_unet3d`."""
    return _build(input_shape, num_classes, config, "sulci_unet3d")


def _build(
    input_shape: tuple[int | None, ...], num_classes: int, config: UNet3DConfig, name: str
) -> Any:
    _check_size(input_shape[:-1], config)
    inputs = keras.Input(input_shape, name="image")
    skips, x = [], inputs
    for level in range(_LEVELS):
        if level:
            x = downsample(x, stride=2, name=f"pool{level}")
        x = _conv_norm_act(x, level, config, name=f"encoder{level}_1")
        x = _conv_norm_act(x, level + 1, config, name=f"encoder{level}_2")
        skips.append(x)
    for level in reversed(range(_LEVELS - 1)):
        if config.upsampling == "nearest":
            x = nearest_upsample(x, factor=2, name=f"up{level}")
        else:
            x = transposed_conv(
                x, filters=x.shape[-1], stride=2, bias=config.norm == "none", name=f"up{level}"
            )
        x = crop_and_concat(skips[level], x, crop=config.padding == "valid", name=f"decoder{level}")
        for number in (1, 2):
            x = _conv_norm_act(x, level + 1, config, name=f"decoder{level}_{number}")
    return keras.Model(inputs, output_logits(x, num_classes, name="logits"), name=name)


def _conv_norm_act(x: Any, doublings: int, config: UNet3DConfig, *, name: str) -> Any:
    x = conv(
        x,
        filters=config.base_filters * 2**doublings,
        padding=config.padding,
        bias=config.norm == "none",
        name=f"{name}_conv",
    )
    if config.norm == "batch_shift":
        x = keras.layers.BatchNormalization(
            epsilon=1e-5, scale=False, dtype="float32", name=f"{name}_norm"
        )(x)
    else:
        x = normalise(x, kind=config.norm, name=f"{name}_norm")
    return activate(x, kind=config.activation, name=f"{name}_act")


def _check_size(spatial: tuple[int | None, ...], config: UNet3DConfig) -> None:
    if config.padding == "same":
        config.check_size(spatial)
        return
    for size in spatial:
        if size is not None and (size < _SMALLEST_VALID or (size - _SMALLEST_VALID) % 8):
            raise ConfigError(
                "an unpadded 3D U-Net takes 92 voxels along an axis, or a multiple of 8 more; "
                f"got {spatial}. Use {_smallest_valid(size)} for {size}."
            )


def _smallest_valid(size: int) -> int:
    """Return the smallest size of ``size`` voxels or more that an unpadded network takes."""
    return _SMALLEST_VALID + max(0, -(-(size - _SMALLEST_VALID) // 8)) * 8
