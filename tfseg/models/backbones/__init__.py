"""Encoders: the convolutional parts of classification networks, in 2D and 3D.

    features = encoder(x, "resnet50", output_stride=16)
    features.last      # stride 16
    features.at(4)     # the last stage of stride 4
    features.skips     # one (stride, map) a stride, finest first, for a U-shaped decoder

The classifiers themselves are in the registry of networks under the same names.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Literal, get_args

from tfseg.errors import unknown_name
from tfseg.models.backbones.densenet import DENSENETS, densenet_features
from tfseg.models.backbones.features import PUBLISHED_WIDTH, Features, Style
from tfseg.models.backbones.googlenet import googlenet_features
from tfseg.models.backbones.p3d import p3d_features
from tfseg.models.backbones.resnet import RESNETS, resnet_features
from tfseg.models.backbones.vgg import VGGS, vgg_features
from tfseg.models.backbones.xception import XCEPTIONS, xception_features

__all__ = ["ENCODERS", "EncoderName", "Features", "encoder", "find_encoders"]

EncoderName = Literal[
    "vgg16",
    "vgg19",
    "googlenet",
    "resnet18",
    "resnet34",
    "resnet50",
    "resnet101",
    "resnet152",
    "resnet50_v1",
    "resnet101_v1",
    "resnet152_v1",
    "se_resnet50",
    "densenet121",
    "densenet161",
    "xception",
    "xception65",
    "p3d",
]
ENCODERS: tuple[str, ...] = get_args(EncoderName)

_TRUNKS: dict[str, Callable[[Any, str, Style], Features]] = {
    **dict.fromkeys(VGGS, vgg_features),
    **dict.fromkeys(RESNETS, resnet_features),
    **dict.fromkeys(DENSENETS, densenet_features),
    **dict.fromkeys(XCEPTIONS, xception_features),
    "googlenet": googlenet_features,
    "p3d": p3d_features,
}


def encoder(
    x: Any,
    name: str,
    *,
    output_stride: int = 32,
    base_filters: int = PUBLISHED_WIDTH,
    norm: str = "batch",
    activation: str = "relu",
    prefix: str = "",
) -> Features:
    """Build an encoder on ``x``, (batch, [z,] y, x, c), and return its feature maps.

    Args:
        x: the image, of any size; a map of stride s has ceil(n / s) voxels along each axis.
        name: one of :data:`ENCODERS`; ``p3d`` is 3D only.
        output_stride: of the last stage: 2, 4, 8, 16 or 32. Past it stages keep their
            resolution and dilate.
        base_filters: 64 is the published width, and every layer's channels scale with it.
        norm: ``batch`` is the published one, except for VGG, which has ``none``.
        activation: after each normalisation.
        prefix: before the layers' names, ``<prefix><name>_...``, for networks with several
            encoders. Weights files and freezing find an encoder's layers by these names.

    Raises:
        ConfigError: unknown name, another output stride, or p3d on a 2D image.
    """
    if name not in _TRUNKS:
        raise unknown_name("backbone", name, ENCODERS)
    style = Style(output_stride, base_filters, norm, activation, f"{prefix}{name}_")
    return _TRUNKS[name](x, name, style)


_LAYER = re.compile(
    rf"(?P<prefix>.*?)(?P<name>{'|'.join(sorted(ENCODERS, key=len, reverse=True))})_(?P<layer>.+)"
)


def find_encoders(model: Any) -> dict[tuple[str, str], dict[str, Any]]:
    """Return the encoders in a network: (prefix, name) -> its layers with weights.

    The layers go by their names without prefix and encoder: ``stem_conv``.
    """
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for layer in model.layers:
        match = _LAYER.fullmatch(layer.name)
        if match and layer.weights:
            found.setdefault((match["prefix"], match["name"]), {})[match["layer"]] = layer
    return found
