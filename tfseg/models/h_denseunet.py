"""H-DenseUNet. Li et al. 2017, arXiv:1709.07330: a 2D and a 3D DenseUNet and their fusion.

Every slice of the volume, with its two neighbours, goes through a 2D DenseUNet-161. Its scores
join the volume as further channels for a smaller 3D DenseUNet. The sum of both networks' last
features is fused by a 3D convolution into the answer ("hybrid feature fusion").

With ``faithful=True`` it is the authors' released code: batch normalisation, scores times 250
(the volumes are in Hounsfield units), and the long skip connections of the paper left out, as
there; ``skips=True`` brings them back. The authors train in stages; here the three outputs are
trained at once, with the weights 1, 1/2, 1/2 (ours). The default has skips and plain scores.
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

import keras
from pydantic import Field

from tfseg.layers import (
    SliceStacks,
    SlicesToVolume,
    activate,
    conv,
    conv_norm_act,
    dense_block,
    downsample,
    nearest_upsample,
    norm_act_conv,
    normalise,
    rank_of,
)
from tfseg.models.config import ModelConfig, output_logits

_PUBLISHED = 64  # base_filters of the published widths, which scale with it
_STEM = 96
_GROWTH_2D, _GROWTH_3D = 48, 32
_BOTTLENECK = 4  # width of the 1x1 convolution over the growth rate
_COMPRESSION = 2  # channels before a transition over those after it


class HDenseUNetConfig(ModelConfig):
    """Options of :func:`build_h_denseunet`.

    Attributes:
        base_filters: channels of the last features; all other widths scale with it.
        blocks_2d: convolution pairs of each dense block of the 2D network.
        blocks_3d: the same of the 3D network; as many blocks.
        skips: add features of the way down to those of the way up.
        score_scale: factor of the 2D scores that the 3D network sees.
        dropout: rate in the fusion.
        bias: keep the biases of the way up and the fusion although normalisation follows.
        auxiliary: train with the logits of the 3D and the 2D network, too.
    """

    paper: ClassVar[dict[str, Any]] = {
        "base_filters": 64,
        "skips": False,
        "score_scale": 250.0,
        "norm": "batch",
        "activation": "relu",
        "bias": True,
    }

    base_filters: Annotated[int, Field(ge=1, le=256)] = 32
    blocks_2d: Annotated[
        tuple[Annotated[int, Field(ge=1, le=64)], ...], Field(min_length=2, max_length=5)
    ] = (6, 12, 36, 24)
    blocks_3d: Annotated[
        tuple[Annotated[int, Field(ge=1, le=64)], ...], Field(min_length=2, max_length=5)
    ] = (3, 4, 12, 8)
    skips: bool = True
    score_scale: Annotated[float, Field(gt=0)] = 1.0
    # By instance would be by slice here, and slices of air have no deviation to divide by.
    norm: Literal["instance", "batch", "none"] = "batch"
    activation: Literal["relu", "leaky_relu"] = "leaky_relu"
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.3
    bias: bool = False
    auxiliary: bool = True

    def width(self, published: int) -> int:
        """Scale a published number of channels."""
        return max(1, published * self.base_filters // _PUBLISHED)

    @property
    def style(self) -> dict[str, Any]:
        """Arguments of every block."""
        return {"norm": self.norm, "activation": self.activation}

    def divisor(self, rank: int) -> tuple[int, ...]:
        """Return what each axis must be divisible by: slices are pooled twice, by the stem."""
        across = int(2 ** (1 + max(len(self.blocks_2d), len(self.blocks_3d))))
        return (4, across, across)


def build_h_denseunet(
    input_shape: tuple[int | None, ...], num_classes: int, config: HDenseUNetConfig
) -> Any:
    """Build the network: image (batch, z, y, x, c) -> logits (batch, z, y, x, classes).

    With ``auxiliary`` the outputs are [logits, the 3D network's, the 2D network's].

    Raises:
        ConfigError: an input size that the poolings do not divide.
    """
    config.check_size(input_shape[:-1])
    inputs = keras.Input(input_shape, name="image")

    stacks = SliceStacks(name="stacks")(inputs)  # (batch * z, y, x, 3 c)
    x = _dense_unet(stacks, config.blocks_2d, _GROWTH_2D, config, prefix="slices_")
    scores = output_logits(x, num_classes, name="slices_scores")
    slices = SlicesToVolume(name="slices_features")([x, inputs])
    scores = SlicesToVolume(dtype="float32", name="slices_logits")([scores, inputs])

    seen = keras.layers.Rescaling(config.score_scale, name="scores_scaled")(scores)
    seen = keras.layers.Concatenate(name="volume_input")([inputs, seen])
    volume = _dense_unet(seen, config.blocks_3d, _GROWTH_3D, config, prefix="volume_")

    x = keras.layers.Add(name="fusion_add")([volume, slices])
    x = conv(x, filters=x.shape[-1], bias=_bias(config), name="fusion_conv")
    if config.dropout:
        x = keras.layers.Dropout(config.dropout, name="fusion_dropout")(x)
    x = _norm_act(x, config, name="fusion")
    logits = output_logits(x, num_classes, name="logits")
    if not config.auxiliary:
        return keras.Model(inputs, logits, name="h_denseunet")
    others = [output_logits(volume, num_classes, name="volume_logits"), scores]
    return keras.Model(inputs, [logits, *others], name="h_denseunet")


def _dense_unet(
    x: Any, blocks: tuple[int, ...], growth: int, config: HDenseUNetConfig, *, prefix: str
) -> Any:
    """A DenseNet trunk and a decoder; returns the features at the size of ``x``.

    Past the stem only y and x are pooled, in 3D too.
    """
    rank = rank_of(x)
    across = (1,) * (rank - 2) + (2, 2)
    stem = config.width(_STEM)
    x = conv_norm_act(
        x, filters=stem, kernel=7, stride=2, padding="symmetric", name=f"{prefix}stem",
        **config.style,
    )  # fmt: skip
    skips = [x]
    x = downsample(x, stride=2, size=3, name=f"{prefix}stem_pool")
    for number, layers in enumerate(blocks, start=1):
        x, _ = dense_block(
            x,
            layers=layers,
            growth=config.width(growth),
            bottleneck=_BOTTLENECK,
            name=f"{prefix}block{number}",
            **config.style,
        )
        if number < len(blocks):
            skips.append(x)
            x = norm_act_conv(
                x,
                filters=x.shape[-1] // _COMPRESSION,
                kernel=1,
                name=f"{prefix}transition{number}",
                **config.style,
            )
            layer = keras.layers.AveragePooling2D if rank == 2 else keras.layers.AveragePooling3D
            x = layer(across, name=f"{prefix}transition{number}_pool")(x)
    x = _norm_act(x, config, name=f"{prefix}end")
    steps = [across] * (len(blocks) - 1) + [2, 2]
    return _decode(x, skips, steps, config, prefix=prefix)


def _decode(
    x: Any, skips: list[Any], steps: list[Any], config: HDenseUNetConfig, *, prefix: str
) -> Any:
    """Upsample and convolve; a skip is a sum: before the convolution in 2D, after it in 3D.

    The widths follow: a 2D convolution goes to the channels of the next skip, a 3D one to those
    of its own. Only the coarsest skip needs a 1x1 convolution to fit.
    """
    sum_first = rank_of(x) == 2
    bias = _bias(config)
    for index, skip in enumerate(reversed(skips)):
        name = f"{prefix}up{len(skips) - index}"
        if config.skips and index == 0:
            skip = conv(skip, filters=x.shape[-1], kernel=1, name=f"{name}_skip")
        if sum_first:
            filters = skips[max(0, len(skips) - index - 2)].shape[-1]
        else:
            filters = skip.shape[-1] if index else x.shape[-1]
        x = nearest_upsample(x, factor=steps[index], name=name)
        if config.skips and sum_first:
            x = keras.layers.Add(name=f"{name}_add")([x, skip])
        x = conv_norm_act(x, filters=filters, bias=bias, name=name, **config.style)
        if config.skips and not sum_first:
            x = keras.layers.Add(name=f"{name}_add")([x, skip])
    x = nearest_upsample(x, factor=steps[-1], name=f"{prefix}up0")
    return conv_norm_act(
        x, filters=config.base_filters, bias=bias, name=f"{prefix}up0", **config.style
    )


def _norm_act(x: Any, config: HDenseUNetConfig, *, name: str) -> Any:
    x = normalise(x, kind=config.norm, name=f"{name}_norm")
    return activate(x, kind=config.activation, name=f"{name}_act")


def _bias(config: HDenseUNetConfig) -> bool:
    return config.bias or config.norm == "none"
