"""SegResNet with the autoencoder branch. Myronenko 2018, arXiv:1810.11654; 3D, and the same in 2D.

In training a variational autoencoder hangs on the coarsest map: it must describe the image in a
few normally distributed numbers and rebuild it from them, which teaches the shared encoder more
than few labels can. What answers is :mod:`tfseg.models.segresnet` alone.

With ``faithful=True`` the segmenter is the paper's, and the branch codes the map on its own grid:
a strided convolution to 16 channels, 128 means and 128 variances, and back, up levels like the
decoder's without skips. The weights of such a code belong to one size of input. By default the
code's map is averaged to 4 cells an axis, so that any size fits and the weights stay few.
"""

from __future__ import annotations

import math
from typing import Annotated, Any, ClassVar

import keras
from pydantic import Field

from tfseg.errors import ConfigError
from tfseg.layers import (
    AdaptiveAveragePooling,
    AutoencoderLoss,
    GaussianSample,
    conv,
    norm_act_conv,
    rank_of,
    resize_like,
)
from tfseg.models.config import output_logits
from tfseg.models.segresnet import SegResNetConfig, decode, encode, segmentation_logits

_CODE = 16  # channels of the map that is coded


class SegResNetVAEConfig(SegResNetConfig):
    """Options of :func:`build_segresnet_vae`, besides those of SegResNet.

    Attributes:
        latent: numbers that describe an image.
        code_grid: cells an axis that are coded; ``None`` is the grid of the map, as in the paper,
            which needs a fixed input size.
    """

    paper: ClassVar[dict[str, Any]] = {**SegResNetConfig.paper, "code_grid": None}

    latent: Annotated[int, Field(ge=1, le=4096)] = 128
    code_grid: Annotated[int, Field(ge=1, le=32)] | None = 4


def build_segresnet_vae(
    input_shape: tuple[int | None, ...], num_classes: int, config: SegResNetVAEConfig
) -> Any:
    """Build the network: image (batch, [z,] y, x, c) -> [logits, loss of the autoencoder].

    The logits are (batch, [z,] y, x, classes), the loss (batch,).

    Raises:
        ConfigError: an input size that the strides do not divide, or one left open where
            ``code_grid`` is the map's own.
    """
    config.check_size(input_shape[:-1])
    if config.code_grid is None and None in input_shape:
        raise ConfigError(
            f"code_grid=None needs a fixed input size; got {input_shape[:-1]}. Give the size, or "
            "code_grid=4."
        )
    inputs = keras.Input(input_shape, name="image")
    maps = encode(inputs, config)
    logits = segmentation_logits(decode(maps[-1], maps, config), num_classes, config)
    loss = _autoencoder(inputs, maps, config)
    return keras.Model(inputs, [logits, loss], name="segresnet_vae")


def _autoencoder(image: Any, maps: list[Any], config: SegResNetVAEConfig) -> Any:
    """Code the coarsest map, rebuild the image from the code, and return the loss of both."""
    bottom, rank, bias = maps[-1], rank_of(image), config.norm == "none"
    style: dict[str, Any] = {"norm": config.norm, "activation": config.activation}
    x = norm_act_conv(bottom, filters=_CODE, stride=2, bias=bias, name="vae_code", **style)
    if config.code_grid:
        x = AdaptiveAveragePooling(config.code_grid, name="vae_grid")(x)
    grid = (config.code_grid,) * rank if config.code_grid else tuple(x.shape[1:-1])
    size = math.prod(grid) * _CODE
    # In float32: variances and what is drawn by them do not fit half precision.
    x = keras.layers.Reshape((size,), name="vae_flat")(x)
    x = keras.layers.Dense(2 * config.latent, dtype="float32", name="vae_distribution")(x)
    mean, log_variance = x[:, : config.latent], x[:, config.latent :]
    x = GaussianSample(name="vae_sample")([mean, log_variance])
    x = keras.layers.Dense(size, activation="relu", name="vae_decode")(x)
    x = keras.layers.Reshape((*grid, _CODE), name="vae_map")(x)
    x = conv(x, filters=bottom.shape[-1], kernel=1, bias=bias, name="vae_widen")
    x = resize_like(x, bottom, name="vae_up")
    x = decode(x, maps, config, prefix="vae_", skip=False)
    rebuilt = output_logits(x, image.shape[-1], name="vae_image")
    return AutoencoderLoss(name="vae_loss")([image, rebuilt, mean, log_variance])
