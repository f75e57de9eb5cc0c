"""GoogLeNet. Szegedy et al. 2014, arXiv:1409.4842; 2D and 3D from one source.

Nine inception modules, each of four parallel branches. As in the form that is in use today
(torchvision's), every convolution is followed by batch normalisation and the 5x5 branch has a
3x3 convolution; ``large_kernel=5, norm="none"`` are the paper's. Its local response
normalisation, which has no parameters, is left out.
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal, NamedTuple

import keras
from pydantic import Field

from tfseg.layers import AdaptiveAveragePooling, activate, conv_norm_act, downsample
from tfseg.models.backbones.classifier import BackboneConfig, build_classifier, mean_head
from tfseg.models.backbones.features import Features, Strides, Style

_HEAD_CELLS = 4  # of the auxiliary heads, along each axis
_HEAD_FILTERS, _HEAD_UNITS = 128, 1024


class Inception(NamedTuple):
    """Channels of a module's branches: 1x1; 1x1 then 3x3; 1x1 then 5x5; 1x1 after pooling."""

    one: int
    three_in: int
    three: int
    five_in: int
    five: int
    pool: int


_STAGES: tuple[dict[str, Inception], ...] = (
    {
        "3a": Inception(64, 96, 128, 16, 32, 32),
        "3b": Inception(128, 128, 192, 32, 96, 64),
    },
    {
        "4a": Inception(192, 96, 208, 16, 48, 64),
        "4b": Inception(160, 112, 224, 24, 64, 64),
        "4c": Inception(128, 128, 256, 24, 64, 64),
        "4d": Inception(112, 144, 288, 32, 64, 64),
        "4e": Inception(256, 160, 320, 32, 128, 128),
    },
    {
        "5a": Inception(256, 160, 320, 32, 128, 128),
        "5b": Inception(384, 192, 384, 48, 128, 128),
    },
)


class GoogLeNetConfig(BackboneConfig):
    """Options of :func:`build_googlenet`.

    Attributes:
        large_kernel: of the third branch.
        auxiliary: train with two further classifiers, after modules 4a and 4d.
        auxiliary_dropout: of those two.
    """

    paper: ClassVar[dict[str, Any]] = {"dropout": 0.2, "auxiliary": True}

    large_kernel: Literal[3, 5] = 3
    auxiliary: bool = False
    auxiliary_dropout: Annotated[float, Field(ge=0, lt=1)] = 0.7


def googlenet_features(
    x: Any,
    name: str,
    style: Style,
    *,
    large_kernel: int = 3,
    modules: dict[str, Any] | None = None,
) -> Features:
    """Build the convolutional part.

    Args:
        x: (batch, [z,] y, x, c).
        name: ``googlenet``.
        style: shared settings.
        large_kernel: of the third branch, 3 or 5.
        modules: filled with the output of each module, by its name in the paper: ``"3a"``, ...

    Returns:
        Stages of strides 2, 4 (the stem's), 8, 16 and 32, before the pooling that follows.
    """
    prefix, strides = style.prefix, Strides(style.output_stride)
    x = conv_norm_act(
        x,
        filters=style.width(64),
        kernel=7,
        stride=strides.take(),
        padding="symmetric",
        name=f"{prefix}stem_1",
        **style.block,
    )
    stages = [(strides.reached, x)]
    x = _pool(x, strides, name=f"{prefix}stem_pool")
    for number, (filters, kernel) in enumerate(((64, 1), (192, 3)), 2):
        x = conv_norm_act(
            x,
            filters=style.width(filters),
            kernel=kernel,
            dilation=strides.dilation if kernel > 1 else 1,
            name=f"{prefix}stem_{number}",
            **style.block,
        )
    stages.append((strides.reached, x))
    for index, stage in enumerate(_STAGES):
        # The last pooling of torchvision's form is 2x2; here as in the paper, 3x3.
        x = _pool(x, strides, name=f"{prefix}pool{index + 3}")
        for module, channels in stage.items():
            x = _inception(
                x, channels, style, strides.dilation, large_kernel, name=f"{prefix}module{module}"
            )
            if modules is not None:
                modules[module] = x
        stages.append((strides.reached, x))
    return Features(tuple(stages), tuple(dict(stages).items()))


def _pool(x: Any, strides: Strides, *, name: str) -> Any:
    return downsample(x, stride=strides.take(), size=3, padding="same", name=name)


def _inception(
    x: Any, channels: Inception, style: Style, dilation: int, large_kernel: int, *, name: str
) -> Any:
    def unit(x: Any, filters: int, kernel: int, part: str) -> Any:
        return conv_norm_act(
            x,
            filters=style.width(filters),
            kernel=kernel,
            dilation=dilation if kernel > 1 else 1,
            name=f"{name}_{part}",
            **style.block,
        )

    pooled = downsample(x, stride=1, size=3, padding="same", name=f"{name}_pool")
    branches = [
        unit(x, channels.one, 1, "one"),
        unit(unit(x, channels.three_in, 1, "three_in"), channels.three, 3, "three"),
        unit(unit(x, channels.five_in, 1, "five_in"), channels.five, large_kernel, "five"),
        unit(pooled, channels.pool, 1, "pooled"),
    ]
    return keras.layers.Concatenate(name=f"{name}_concat")(branches)


def build_googlenet(
    input_shape: tuple[int | None, ...], num_classes: int, config: GoogLeNetConfig
) -> Any:
    """Build the classifier: image (batch, [z,] y, x, c) -> logits (batch, classes).

    With ``auxiliary`` the outputs are [logits, those after module 4a, those after 4d].
    """

    def body(x: Any) -> Any:
        modules: dict[str, Any] = {}
        style = config.style("googlenet")
        features = googlenet_features(
            x, "googlenet", style, large_kernel=config.large_kernel, modules=modules
        )
        logits = mean_head(features.last, num_classes, dropout=config.dropout)
        if not config.auxiliary:
            return logits
        heads = [
            _auxiliary(modules[module], num_classes, config, style, name=f"auxiliary{module}")
            for module in ("4a", "4d")
        ]
        return [logits, *heads]

    return build_classifier("googlenet", input_shape, config, body)


def _auxiliary(
    x: Any, num_classes: int, config: GoogLeNetConfig, style: Style, *, name: str
) -> Any:
    x = AdaptiveAveragePooling(_HEAD_CELLS, name=f"{name}_cells")(x)
    x = conv_norm_act(
        x, filters=style.width(_HEAD_FILTERS), kernel=1, name=f"{name}_reduce", **style.block
    )
    x = keras.layers.Flatten(name=f"{name}_flat")(x)
    x = keras.layers.Dense(
        style.width(_HEAD_UNITS), kernel_initializer="he_normal", name=f"{name}_dense"
    )(x)
    x = activate(x, kind=config.activation, name=f"{name}_dense_act")
    if config.auxiliary_dropout:
        x = keras.layers.Dropout(config.auxiliary_dropout, name=f"{name}_dropout")(x)
    return keras.layers.Dense(num_classes, dtype="float32", name=name)(x)
