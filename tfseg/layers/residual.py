"""The ResNet trunk, in 2D and 3D, with a chosen output stride.

He, Zhang, Ren, Sun 2015, arXiv:1512.03385. Bottlenecks carry their stride in the 3x3
convolution ("v1.5"). Where the output stride is reached, later stages keep their resolution
and dilate instead (Yu, Koltun 2015, arXiv:1511.07122; Chen et al. 2016, arXiv:1606.00915).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import keras

from tfseg.errors import ConfigError, unknown_name
from tfseg.layers.conv import activate, conv, conv_norm_act, downsample
from tfseg.layers.norm import normalise

# name -> (blocks of the four stages, bottleneck?)
RESNETS: dict[str, tuple[tuple[int, int, int, int], bool]] = {
    "resnet18": ((2, 2, 2, 2), False),
    "resnet34": ((3, 4, 6, 3), False),
    "resnet50": ((3, 4, 6, 3), True),
    "resnet101": ((3, 4, 23, 3), True),
    "resnet152": ((3, 8, 36, 3), True),
}
OUTPUT_STRIDES = (2, 4, 8, 16, 32)
_EXPANSION = 4  # bottleneck output over its width


@dataclass(frozen=True)
class _Style:
    norm: str
    activation: str
    dilation: int = 1


def residual_trunk(
    x: Any,
    *,
    depth: str,
    output_stride: int = 32,
    base_filters: int = 64,
    norm: str = "batch",
    activation: str = "relu",
) -> list[Any]:
    """Build the trunk and return the outputs of its four stages, finest first.

    The strides are, in order, stem 2, max-pool 2, stages 1, 2, 2, 2; each is applied while the
    product stays within ``output_stride``.

    Args:
        x: input (batch, [z,] y, x, c).
        depth: a name of :data:`RESNETS`.
        output_stride: of the last stage: 2, 4, 8, 16 or 32.
        base_filters: channels of the stem; 64 in the paper.

    Raises:
        ConfigError: unknown depth, or another output stride.
    """
    if depth not in RESNETS:
        raise unknown_name("backbone", depth, RESNETS)
    if output_stride not in OUTPUT_STRIDES:
        raise ConfigError(f"output_stride must be one of {OUTPUT_STRIDES}; got {output_stride}.")
    blocks, bottleneck = RESNETS[depth]
    x = conv_norm_act(
        x,
        filters=base_filters,
        kernel=7,
        stride=2,
        padding="symmetric",
        norm=norm,
        activation=activation,
        name="stem",
    )
    reached = 2
    if reached < output_stride:
        x = downsample(x, stride=2, size=3, name="stem_pool")
        reached *= 2
    stages, dilation = [], 1
    for index, count in enumerate(blocks):
        wanted = 1 if index == 0 else 2
        stride = wanted if reached * wanted <= output_stride else 1
        reached *= stride
        # The block that gave up its stride still works at the old dilation, later ones double it.
        first = dilation
        dilation *= wanted // stride
        for block in range(count):
            style = _Style(norm, activation, first if block == 0 else dilation)
            unit = _bottleneck if bottleneck else _basic
            x = unit(
                x,
                filters=base_filters * 2**index,
                stride=stride if block == 0 else 1,
                style=style,
                name=f"stage{index + 1}_block{block + 1}",
            )
        stages.append(x)
    return stages


def _basic(x: Any, *, filters: int, stride: int, style: _Style, name: str) -> Any:
    y = conv_norm_act(
        x,
        filters=filters,
        stride=stride,
        dilation=style.dilation,
        padding="symmetric",
        norm=style.norm,
        activation=style.activation,
        name=f"{name}_1",
    )
    y = _conv_norm(y, filters=filters, kernel=3, style=style, name=f"{name}_2")
    return _join(x, y, stride=stride, style=style, name=name)


def _bottleneck(x: Any, *, filters: int, stride: int, style: _Style, name: str) -> Any:
    y = conv_norm_act(
        x,
        filters=filters,
        kernel=1,
        norm=style.norm,
        activation=style.activation,
        name=f"{name}_1",
    )
    y = conv_norm_act(
        y,
        filters=filters,
        stride=stride,
        dilation=style.dilation,
        padding="symmetric",
        norm=style.norm,
        activation=style.activation,
        name=f"{name}_2",
    )
    y = _conv_norm(y, filters=filters * _EXPANSION, kernel=1, style=style, name=f"{name}_3")
    return _join(x, y, stride=stride, style=style, name=name)


def _join(x: Any, y: Any, *, stride: int, style: _Style, name: str) -> Any:
    # The shortcut is added before the last activation, as in the paper.
    if stride != 1 or x.shape[-1] != y.shape[-1]:
        x = _conv_norm(
            x, filters=y.shape[-1], kernel=1, style=style, name=f"{name}_shortcut", stride=stride
        )
    total = keras.layers.Add(name=f"{name}_add")([x, y])
    return activate(total, kind=style.activation, name=f"{name}_act")


def _conv_norm(
    x: Any, *, filters: int, kernel: int, style: _Style, name: str, stride: int = 1
) -> Any:
    dilation = style.dilation if kernel > 1 else 1
    x = conv(
        x,
        filters=filters,
        kernel=kernel,
        stride=stride,
        dilation=dilation,
        padding="symmetric",
        bias=style.norm == "none",
        name=f"{name}_conv",
    )
    return normalise(x, kind=style.norm, name=f"{name}_norm")
