"""Kid-Net. Taha, Lo, Li, Zhao 2018, arXiv:1806.06769; 3D, and the same in 2D.

Segments the kidney's vessels: a U-Net of residual units, short skips within them and long ones
across, trained at three resolutions at once. Widths, and the weights 1, 1/2, 1/4 of the three
outputs, are a preset; the paper's are not known to us. ``faithful=True`` has batch
normalisation, as the paper; the default instance normalisation.
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

import keras
from pydantic import Field

from tfseg.layers import activate, conv_norm_act, downsample, transposed_conv
from tfseg.models.config import ModelConfig, output_logits

_SUPERVISED = 3  # finest levels with an output of their own


class KidNetConfig(ModelConfig):
    """Options of :func:`build_kidnet`.

    Attributes:
        base_filters: channels of the finest level; twice as many a level down.
        depth: number of levels, the bottom included.
        bias: keep the convolutions' biases although normalisation follows.
        deep_supervision: train with further outputs at a half and a quarter of the resolution.
    """

    paper: ClassVar[dict[str, Any]] = {"norm": "batch", "activation": "relu", "bias": True}

    base_filters: Annotated[int, Field(ge=1, le=512)] = 16
    depth: Annotated[int, Field(ge=2, le=7)] = 5
    norm: Literal["instance", "batch", "none"] = "instance"
    activation: Literal["relu", "leaky_relu"] = "leaky_relu"
    bias: bool = False
    deep_supervision: bool = True

    def divisor(self, rank: int) -> tuple[int, ...]:
        """Return what each axis of the input must be divisible by."""
        return (2 ** (self.depth - 1),) * rank


def build_kidnet(
    input_shape: tuple[int | None, ...], num_classes: int, config: KidNetConfig
) -> Any:
    """Build the network: image (batch, [z,] y, x, c) -> logits (batch, [z,] y, x, classes).

    With ``deep_supervision`` the outputs are a list of up to three: full, half and quarter
    resolution, as far as the decoder goes.

    Raises:
        ConfigError: an input size that the poolings do not divide.
    """
    config.check_size(input_shape[:-1])
    inputs = keras.Input(input_shape, name="image")
    skips, x = [], inputs
    for level in range(config.depth):
        if level:
            x = downsample(x, stride=2, name=f"pool{level}")
        x = _residual_unit(x, config, level, name=f"encoder{level}")
        skips.append(x)
    logits: list[Any] = []
    for level in reversed(range(config.depth - 1)):
        x = transposed_conv(x, filters=config.base_filters * 2**level, stride=2, name=f"up{level}")
        x = keras.layers.Concatenate(name=f"up{level}_concat")([skips[level], x])
        x = _residual_unit(x, config, level, name=f"decoder{level}")
        if level == 0 or (config.deep_supervision and level < _SUPERVISED):
            logits.insert(0, output_logits(x, num_classes, name=f"logits{level}"))
    return keras.Model(inputs, logits if len(logits) > 1 else logits[0], name="kidnet")


def _residual_unit(x: Any, config: KidNetConfig, level: int, *, name: str) -> Any:
    """Two 3x3 convolutions beside a 1x1 one; activation after the sum."""
    style: dict[str, Any] = {
        "filters": config.base_filters * 2**level,
        "norm": config.norm,
        "bias": config.bias or config.norm == "none",
    }
    y = conv_norm_act(x, activation=config.activation, name=f"{name}_1", **style)
    y = conv_norm_act(y, activation="none", name=f"{name}_2", **style)
    x = conv_norm_act(x, kernel=1, activation="none", name=f"{name}_shortcut", **style)
    x = keras.layers.Add(name=f"{name}_add")([x, y])
    return activate(x, kind=config.activation, name=f"{name}_act")
