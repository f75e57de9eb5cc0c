"""Xception and the modified aligned Xception-65, in 2D and 3D.

Chollet 2016, arXiv:1610.02357: residual blocks of depthwise separable convolutions, each after
an activation, and max-pooling. Chen et al. 2018, arXiv:1802.02611 (DeepLab v3+): a middle twice
as long, strided separable convolutions in place of the pooling, normalisation and activation
after the depthwise convolutions, too. Past the output stride blocks dilate.
"""

from __future__ import annotations

from functools import partial
from typing import Any, ClassVar, Literal

import keras

from tfseg.layers import activate, conv_norm_act, downsample, separable_conv
from tfseg.models.backbones.classifier import BackboneConfig, build_classifier, mean_head
from tfseg.models.backbones.features import Features, Strides, Style

XCEPTIONS = ("xception", "xception65")
_ENTRY = (128, 256, 728)
_EXIT = {"xception": (728, 1024), "xception65": (728, 1024, 1024)}
_END = {"xception": (1536, 2048), "xception65": (1536, 1536, 2048)}
_MIDDLE_BLOCKS = {"xception": 8, "xception65": 16}


class XceptionConfig(BackboneConfig):
    """Options of the Xception classifiers.

    Attributes:
        padding: of the stem; ``valid`` loses its border, as Chollet's does.
    """

    paper: ClassVar[dict[str, Any]] = {"padding": "valid"}

    padding: Literal["symmetric", "valid"] = "symmetric"

    @property
    def smallest(self) -> int:
        """What the two unpadded 3x3 convolutions of the stem need."""
        return 7 if self.padding == "valid" else 1


def xception_features(x: Any, name: str, style: Style, *, padding: str = "symmetric") -> Features:
    """Build a trunk.

    Args:
        x: (batch, [z,] y, x, c).
        name: one of :data:`XCEPTIONS`.
        style: shared settings.
        padding: of the stem's two convolutions: ``symmetric`` or ``valid``.

    Returns:
        Stages of strides 2 (the stem's), 4, 8, 16 and 32. The skip of a stride is what a block
        has just before its last, strided step (256 channels at stride 4), then the end.
    """
    strides = Strides(style.output_stride)
    for number, filters in enumerate((32, 64)):
        x = conv_norm_act(
            x,
            filters=style.width(filters),
            stride=1 if number else strides.take(),
            padding=padding,
            name=f"{style.prefix}stem_{number + 1}",
            **style.block,
        )
    stages, skips = [(strides.reached, x)], {}
    for number, filters in enumerate(_ENTRY):
        widths = (filters,) * (2 if name == "xception" else 3)
        before = strides.reached
        x, skips[before] = _block(x, widths, name, style, strides, f"entry{number + 1}")
        stages.append((strides.reached, x))
    for number in range(_MIDDLE_BLOCKS[name]):
        block, y = f"middle{number + 1}", x
        for unit in range(3):
            y = _unit(y, _ENTRY[-1], name, style, f"{block}_{unit + 1}", dilation=strides.dilation)
        x = keras.layers.Add(name=f"{style.prefix}{block}_add")([x, y])
    stages[-1] = (strides.reached, x)
    before = strides.reached
    x, skips[before] = _block(x, _EXIT[name], name, style, strides, "exit")
    for number, filters in enumerate(_END[name]):
        x = separable_conv(
            x,
            filters=style.width(filters),
            dilation=strides.dilation,
            between=name == "xception65",
            name=f"{style.prefix}end_{number + 1}",
            **style.block,
        )
    stages.append((strides.reached, x))
    skips[strides.reached] = x
    return Features(tuple(stages), tuple(skips.items()))


def _block(
    x: Any, widths: tuple[int, ...], kind: str, style: Style, strides: Strides, block: str
) -> tuple[Any, Any]:
    """Residual block with a stride; returns its sum, and what it has before the strided step."""
    dilation, stride = strides.dilation, strides.take()
    y = x
    for number, filters in enumerate(widths[:-1]):
        y = _unit(y, filters, kind, style, f"{block}_{number + 1}", dilation=dilation)
    name = f"{block}_{len(widths)}"
    if kind == "xception":
        skip = _unit(y, widths[-1], kind, style, name, dilation=dilation)
        pool = f"{style.prefix}{block}_pool"
        y = downsample(skip, stride=stride, size=3, padding="same", name=pool)
    else:
        skip = y
        y = _unit(y, widths[-1], kind, style, name, stride=stride, dilation=dilation)
    shortcut = conv_norm_act(
        x,
        filters=y.shape[-1],
        kernel=1,
        stride=stride,
        norm=style.norm,
        activation="none",
        name=f"{style.prefix}{block}_shortcut",
    )
    return keras.layers.Add(name=f"{style.prefix}{block}_add")([shortcut, y]), skip


def _unit(
    x: Any, filters: int, kind: str, style: Style, unit: str, *, stride: int = 1, dilation: int
) -> Any:
    """Activation, separable convolution, normalisation."""
    name = f"{style.prefix}{unit}"
    x = activate(x, kind=style.activation, name=f"{name}_before")
    return separable_conv(
        x,
        filters=style.width(filters),
        stride=stride,
        dilation=dilation,
        between=kind == "xception65",
        last=False,
        name=name,
        **style.block,
    )


def _build(
    name: str, input_shape: tuple[int | None, ...], num_classes: int, config: XceptionConfig
) -> Any:
    def body(x: Any) -> Any:
        features = xception_features(x, name, config.style(name), padding=config.padding)
        return mean_head(features.last, num_classes, dropout=config.dropout)

    return build_classifier(name, input_shape, config, body)


build_xception = partial(_build, "xception")
build_xception65 = partial(_build, "xception65")
