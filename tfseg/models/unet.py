"""U-Net. Ronneberger, Fischer, Brox 2015, arXiv:1505.04597; 2D and 3D from one source.

With ``faithful=True`` it is the paper's: 64 to 1024 channels on five levels, unpadded 3x3
convolutions with ReLU and no normalisation, max-pooling, centre-cropped skips, dropout 0.5 at
the end of the contracting path. ``tfseg train`` mirrors patches at their borders for it, so that
it answers for the whole patch. The default is the form that later work settled on (Isensee et al.
2021, nnU-Net, doi:10.1038/s41592-020-01008-z): padded convolutions, instance normalisation,
leaky ReLU, strided convolution for pooling, deep supervision.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Annotated, Any, ClassVar, Literal

import keras
from pydantic import Field

from tfseg.errors import ConfigError
from tfseg.layers import conv_norm_act, crop_and_concat, downsample, transposed_conv
from tfseg.models.config import ModelConfig, output_logits


class UNetConfig(ModelConfig):
    """Options of :func:`build_unet`.

    Attributes:
        base_filters: channels of the finest level; each level below has twice as many, up to
            ``max_filters``.
        max_filters: channels of a level at most.
        depth: number of levels, the bottom included.
        convs: convolutions a level.
        padding: ``same`` keeps the size; ``valid`` takes the border off with every convolution
            (needs ``deep_supervision=false`` in training).
        pooling: ``stride`` (strided convolution) or ``max``.
        strides: pooling factor per axis of each of the depth - 1 poolings; ``None`` is 2 on
            every axis. Anisotropic volumes want 1 along thick slices at first.
        dropout: rate on the two coarsest levels of the encoder.
        deep_supervision: train with a further output at every level but the two coarsest, the
            bottom and the one above it (Lee et al. 2014, arXiv:1409.5185; weights halve with
            each level).
    """

    paper: ClassVar[dict[str, Any]] = {
        "base_filters": 64,
        "max_filters": 1024,
        "depth": 5,
        "norm": "none",
        "activation": "relu",
        "padding": "valid",
        "pooling": "max",
        "dropout": 0.5,
        "deep_supervision": False,
    }

    base_filters: Annotated[int, Field(ge=1, le=1024)] = 32
    max_filters: Annotated[int, Field(ge=1, le=4096)] = 320
    depth: Annotated[int, Field(ge=2, le=8)] = 5
    convs: Annotated[int, Field(ge=1, le=8)] = 2
    norm: Literal["instance", "batch", "none"] = "instance"
    activation: Literal["relu", "leaky_relu"] = "leaky_relu"
    padding: Literal["same", "valid"] = "same"
    pooling: Literal["stride", "max"] = "stride"
    strides: tuple[tuple[Annotated[int, Field(ge=1, le=4)], ...], ...] | None = None
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    deep_supervision: bool = True

    def level_strides(self, rank: int) -> tuple[tuple[int, ...], ...]:
        """Return the pooling factors, one tuple of ``rank`` per pooling."""
        if self.strides is None:
            return ((2,) * rank,) * (self.depth - 1)
        if len(self.strides) != self.depth - 1 or any(len(step) != rank for step in self.strides):
            raise ConfigError(
                f"strides must hold depth - 1 = {self.depth - 1} tuples of {rank} factors; "
                f"got {self.strides}."
            )
        return self.strides

    def divisor(self, rank: int) -> tuple[int, ...]:
        """Return what each axis of a padded network's input must be divisible by."""
        factors = [1] * rank
        for step in self.level_strides(rank):
            factors = [factor * size for factor, size in zip(factors, step, strict=True)]
        return tuple(factors)

    def wider_input(self, spatial: Sequence[int]) -> tuple[int, ...]:
        """Return the smallest input size whose output covers ``spatial``."""
        if self.padding == "same":
            return tuple(spatial)
        strides = self.level_strides(len(spatial))
        factors = [[step[axis] for step in strides] for axis in range(len(spatial))]
        return tuple(
            next(n for n in itertools.count(size) if _unpadded_output(n, steps, self) >= size)
            for size, steps in zip(spatial, factors, strict=True)
        )


def build_unet(input_shape: tuple[int | None, ...], num_classes: int, config: UNetConfig) -> Any:
    """Build the network: image (batch, [z,] y, x, c) -> logits (batch, [z,] y, x, classes).

    With ``padding="valid"`` the output is smaller than the input. With ``deep_supervision`` the
    outputs are a list, full resolution first.

    Raises:
        ConfigError: an input size that the poolings do not divide.
    """
    rank = len(input_shape) - 1
    strides = config.level_strides(rank)
    _check_size(input_shape[:-1], config)

    inputs = keras.Input(input_shape, name="image")
    skips, x = [], inputs
    for level in range(config.depth):
        if level:
            x = _pool(x, strides[level - 1], config, level)
        first_stride = strides[level - 1] if level and config.pooling == "stride" else 1
        x = _convs(x, _filters(config, level), config, name=f"encoder{level}", stride=first_stride)
        if config.dropout and level >= config.depth - 2:
            x = keras.layers.Dropout(config.dropout, name=f"encoder{level}_dropout")(x)
        skips.append(x)

    logits: list[Any] = []
    for level in reversed(range(config.depth - 1)):
        filters = _filters(config, level)
        x = transposed_conv(x, filters=filters, stride=strides[level], name=f"up{level}")
        x = crop_and_concat(skips[level], x, crop=config.padding == "valid", name=f"decoder{level}")
        x = _convs(x, filters, config, name=f"decoder{level}")
        # The two coarsest levels see too little to be worth a loss of their own.
        if level == 0 or (config.deep_supervision and level < config.depth - 2):
            logits.insert(0, output_logits(x, num_classes, name=f"logits{level}"))
    return keras.Model(inputs, logits if len(logits) > 1 else logits[0], name="unet")


def _filters(config: UNetConfig, level: int) -> int:
    return min(config.base_filters * 2**level, config.max_filters)


def _pool(x: Any, stride: tuple[int, ...], config: UNetConfig, level: int) -> Any:
    if config.pooling == "max":
        return downsample(x, stride=stride, name=f"pool{level}")
    return x


def _convs(x: Any, filters: int, config: UNetConfig, *, name: str, stride: Any = 1) -> Any:
    for index in range(config.convs):
        x = conv_norm_act(
            x,
            filters=filters,
            stride=stride if index == 0 else 1,
            padding=config.padding,
            norm=config.norm,
            activation=config.activation,
            name=f"{name}_{index + 1}",
        )
    return x


def _check_size(spatial: tuple[int | None, ...], config: UNetConfig) -> None:
    if config.padding == "valid":
        _check_valid_size(spatial, config)
        return
    config.check_size(spatial)


def _check_valid_size(spatial: tuple[int | None, ...], config: UNetConfig) -> None:
    strides = config.level_strides(len(spatial))
    for axis, size in enumerate(spatial):
        factors = [step[axis] for step in strides]
        if size is None or _unpadded_output(size, factors, config):
            continue
        fit = next(n for n in itertools.count(size + 1) if _unpadded_output(n, factors, config))
        raise ConfigError(
            f"an unpadded U-Net of depth {config.depth} must keep voxels at every level and find "
            f"a size that each pooling divides; got input size {size}. Use {fit}."
        )


def _unpadded_output(size: int, factors: list[int], config: UNetConfig) -> int:
    """Follow one axis down and up to its output's size; 0 where ``size`` does not fit.

    Every 3x3 convolution takes 2 voxels of it.
    """
    left = size - 2 * config.convs
    for factor in factors:
        if config.pooling == "max":
            if left % factor:
                return 0
            left = left // factor - 2 * config.convs
        else:
            left = (left - 3) // factor + 1 - 2 * (config.convs - 1)
        if left <= 0:
            return 0
    for factor in reversed(factors):
        left = left * factor - 2 * config.convs
        if left <= 0:
            return 0
    return left
