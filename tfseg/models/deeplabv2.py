"""DeepLab v2. Chen et al. 2016, arXiv:1606.00915; 2D and 3D from one source.

A dilated encoder and atrous spatial pyramid pooling in its first form: 3x3 convolutions of
several dilations, each straight to class scores, summed. With ``faithful=True``: ResNet-101 of
width 64 with batch normalisation at output stride 8, rates 6, 12, 18, 24 (ASPP-L). The paper's
VGG form is ``backbone=vgg16 norm=none branch_factor=16``: each branch then has layers fc6 and
fc7 of its own. The default is ResNet-18 at output stride 4 with instance normalisation and lower
rates, because organs are smaller than street scenes. The paper's dense CRF is a step of its own.
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

import keras
from pydantic import Field

from tfseg.layers import LinearScale, conv, conv_norm_act, resize_like
from tfseg.models.encoded import EncodedConfig


class DeepLabV2Config(EncodedConfig):
    """Options of :func:`build_deeplabv2`.

    Attributes:
        output_stride: of the encoder; the logits are upsampled by it.
        rates: dilations of the branches, in voxels of the encoder's map.
        branch_factor: channels of a branch's fc6 and fc7 over ``base_filters``; 0 has neither,
            and the dilated convolution gives scores.
        dropout: after fc6 and after fc7.
        scales: of the image; the network sees it at each of them, and the largest logit counts.
            The paper also has 0.5, 0.75, 1.
    """

    paper: ClassVar[dict[str, Any]] = {
        "backbone": "resnet101",
        "base_filters": 64,
        "norm": "batch",
        "activation": "relu",
        "output_stride": 8,
        "rates": (6, 12, 18, 24),
    }

    output_stride: Literal[2, 4, 8, 16, 32] = 4
    rates: Annotated[tuple[Annotated[int, Field(ge=1, le=64)], ...], Field(min_length=1)] = (
        1, 2, 4, 8,
    )  # fmt: skip
    branch_factor: Annotated[int, Field(ge=0, le=64)] = 0
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.1
    scales: Annotated[tuple[Annotated[float, Field(gt=0, le=4)], ...], Field(min_length=1)] = (1.0,)


def build_deeplabv2(
    input_shape: tuple[int | None, ...], num_classes: int, config: DeepLabV2Config
) -> Any:
    """Build the network: image (batch, [z,] y, x, c) -> logits (batch, [z,] y, x, classes).

    Any input size fits.
    """
    inputs = keras.Input(input_shape, name="image")
    if config.scales == (1.0,):
        scores = _scores(inputs, num_classes, config)
    else:
        scores = _scores_of_scales(inputs, num_classes, config)
    logits = resize_like(scores, inputs, dtype="float32", name="logits")
    return keras.Model(inputs, logits, name="deeplabv2")


def _scores(image: Any, num_classes: int, config: DeepLabV2Config) -> Any:
    x = config.encode(image, config.output_stride).last
    branches = [_branch(x, rate, num_classes, config) for rate in config.rates]
    if len(branches) == 1:
        return branches[0]
    return keras.layers.Add(dtype="float32", name="scores")(branches)


def _branch(x: Any, rate: int, num_classes: int, config: DeepLabV2Config) -> Any:
    name = f"rate{rate}"
    if not config.branch_factor:
        return conv(x, filters=num_classes, dilation=rate, name=name)
    filters = config.branch_factor * config.base_filters
    for layer, kernel in (("fc6", 3), ("fc7", 1)):
        x = conv_norm_act(
            x,
            filters=filters,
            kernel=kernel,
            dilation=rate if kernel > 1 else 1,
            name=f"{name}_{layer}",
            **config.style,
        )
        if config.dropout:
            x = keras.layers.Dropout(config.dropout, name=f"{name}_{layer}_dropout")(x)
    return conv(x, filters=num_classes, kernel=1, name=name)


def _scores_of_scales(image: Any, num_classes: int, config: DeepLabV2Config) -> Any:
    """Return the largest score of the scales, at the grid of the first one's scores."""
    inner = keras.Input((*(None,) * (len(image.shape) - 2), image.shape[-1]), name="scaled")
    network = keras.Model(inner, _scores(inner, num_classes, config), name="shared")
    found: list[Any] = []
    for scale in config.scales:
        scores = network(LinearScale(scale, name=f"image_x{scale:g}")(image))
        if found:
            scores = resize_like(scores, found[0], name=f"scores_x{scale:g}")
        found.append(scores)
    if len(found) == 1:
        return found[0]
    return keras.layers.Maximum(dtype="float32", name="largest")(found)
