"""MultiResUNet. Ibtehaz, Rahman 2019, arXiv:1902.04049; 2D and 3D from one source.

Each level is a MultiRes block, three 3x3 convolutions in a row whose results together stand for
3x3, 5x5 and 7x7, around a 1x1 shortcut; the skip connections are chains of residual units, the
longer the finer the level ("Res paths"). With ``faithful=True`` it is the authors' code: batch
normalisation, ReLU, normalised logits.
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

import keras
from pydantic import Field

from tfseg.layers import activate, conv, downsample, normalise, transposed_conv
from tfseg.models.config import output_logits
from tfseg.models.u_shape import UShapeConfig, concat

_SHARES = (0.167, 0.333, 0.5)  # of a block's width: of its three convolutions


class MultiResUNetConfig(UShapeConfig):
    """Options of :func:`build_multiresunet`, besides those of the U shape.

    Attributes:
        alpha: width of a MultiRes block over that of the U-Net's level it replaces.
        normalised_logits: end with a batch normalisation without scale, as the authors do.
    """

    paper: ClassVar[dict[str, Any]] = {
        "base_filters": 32,
        "norm": "batch",
        "activation": "relu",
        "normalised_logits": True,
    }

    alpha: Annotated[float, Field(gt=0, le=8)] = 1.67
    normalised_logits: bool = False


def build_multiresunet(
    input_shape: tuple[int | None, ...], num_classes: int, config: MultiResUNetConfig
) -> Any:
    """Build the network: image (batch, [z,] y, x, c) -> logits (batch, [z,] y, x, classes).

    Raises:
        ConfigError: an input size that the poolings do not divide.
    """
    return _build("multiresunet", input_shape, num_classes, config)


def build_multiresunet3d(
    input_shape: tuple[int | None, ...], num_classes: int, config: MultiResUNetConfig
) -> Any:
    """Build the same network under the name that its 3D form has in the literature."""
    return _build("multiresunet3d", input_shape, num_classes, config)


def _build(
    name: str, input_shape: tuple[int | None, ...], num_classes: int, config: MultiResUNetConfig
) -> Any:
    config.check_size(input_shape[:-1])
    inputs = keras.Input(input_shape, name="image")
    skips, x = [], inputs
    for level in range(config.depth):
        if level:
            x = downsample(x, stride=2, name=f"pool{level}")
        x = _multires_block(x, config, level, name=f"encoder{level}")
        if level < config.depth - 1:
            skips.append(_res_path(x, config, level))
    for level in reversed(range(config.depth - 1)):
        x = transposed_conv(x, filters=config.filters(level), stride=2, name=f"up{level}")
        x = concat(skips[level], x, name=f"decoder{level}")
        x = _multires_block(x, config, level, name=f"decoder{level}")
    return keras.Model(inputs, _logits(x, num_classes, config), name=name)


def _multires_block(x: Any, config: MultiResUNetConfig, level: int, *, name: str) -> Any:
    width = config.alpha * config.filters(level)
    y, scales = x, []
    for index, share in enumerate(_SHARES, start=1):
        y = _conv_norm(y, config, filters=max(1, int(width * share)), name=f"{name}_{index}")
        y = activate(y, kind=config.activation, name=f"{name}_{index}_act")
        scales.append(y)
    y = keras.layers.Concatenate(name=f"{name}_scales")(scales)
    y = normalise(y, kind=config.norm, name=f"{name}_scales_norm")
    return _add_shortcut(x, y, config, name=name)


def _res_path(x: Any, config: MultiResUNetConfig, level: int) -> Any:
    """Chain as many residual units as there are levels above the bottom, from this one on."""
    for index in range(config.depth - 1 - level):
        name = f"path{level}_{index + 1}"
        y = _conv_norm(x, config, filters=config.filters(level), name=name)
        y = activate(y, kind=config.activation, name=f"{name}_inner_act")
        x = _add_shortcut(x, y, config, name=name)
    return x


def _add_shortcut(x: Any, y: Any, config: MultiResUNetConfig, *, name: str) -> Any:
    x = _conv_norm(x, config, filters=y.shape[-1], kernel=1, name=f"{name}_shortcut")
    x = keras.layers.Add(name=f"{name}_add")([x, y])
    x = activate(x, kind=config.activation, name=f"{name}_act")
    return normalise(x, kind=config.norm, name=f"{name}_norm")


def _conv_norm(
    x: Any, config: MultiResUNetConfig, *, filters: int, kernel: int = 3, name: str
) -> Any:
    """Convolve and normalise; batch normalisation without scale, as in the authors' code."""
    bias = config.bias or config.norm == "none"
    x = conv(x, filters=filters, kernel=kernel, bias=bias, name=f"{name}_conv")
    if config.norm == "batch":
        return _shift_norm(x, name=f"{name}_conv_norm")
    return normalise(x, kind=config.norm, name=f"{name}_conv_norm")


def _logits(x: Any, num_classes: int, config: MultiResUNetConfig) -> Any:
    if not config.normalised_logits:
        return output_logits(x, num_classes, name="logits")
    x = conv(x, filters=num_classes, kernel=1, bias=False, dtype="float32", name="logits_conv")
    return _shift_norm(x, name="logits")


def _shift_norm(x: Any, *, name: str) -> Any:
    layer = keras.layers.BatchNormalization(scale=False, epsilon=1e-5, dtype="float32", name=name)
    return layer(x)
