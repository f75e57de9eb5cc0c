"""DRINet. Chen et al. 2018, IEEE TMI, doi:10.1109/TMI.2018.2835303; 2D, and the same in 3D.

Dense connections on the way down, residual Inception blocks on the way up, unpooling blocks of
two branches between them, and no skip connections across. The authors' convolutions on the way
up are transposed ones of stride 1, which are convolutions with mirrored kernels; here they are
plain. With ``faithful=True`` batch normalisation, ReLU, and biases in all convolutions; the
growth rates are an argument in the authors' code, here 1/4, 1/2, 1 and 2 times ``base_filters``
unless given. The default has instance normalisation.
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

import keras
from pydantic import Field

from tfseg.layers import (
    activate,
    conv,
    conv_norm_act,
    dense_block,
    downsample,
    norm_act_conv,
    normalise,
    transposed_conv,
)
from tfseg.models.config import ModelConfig, output_logits

_INCEPTIONS = 3  # residual Inception blocks a level


class DRINetConfig(ModelConfig):
    """Options of :func:`build_drinet`.

    Attributes:
        base_filters: channels of the first convolution.
        growth: channels that each dense convolution adds, finest level first; ``None`` takes
            1/4, 1/2, 1 and 2 times ``base_filters``.
        bias: keep the convolutions' biases although normalisation follows.
    """

    paper: ClassVar[dict[str, Any]] = {"norm": "batch", "activation": "relu", "bias": True}

    base_filters: Annotated[int, Field(ge=4, le=512)] = 32
    growth: (
        Annotated[
            tuple[Annotated[int, Field(ge=1, le=512)], ...], Field(min_length=2, max_length=7)
        ]
        | None
    ) = None
    norm: Literal["instance", "batch", "none"] = "instance"
    activation: Literal["relu", "leaky_relu"] = "leaky_relu"
    bias: bool = False

    @property
    def growths(self) -> tuple[int, ...]:
        """Growth rate of each level, finest first."""
        base = self.base_filters
        return self.growth or (base // 4, base // 2, base, 2 * base)

    def divisor(self, rank: int) -> tuple[int, ...]:
        """Return what each axis of the input must be divisible by."""
        return (2 ** (len(self.growths) - 1),) * rank

    @property
    def style(self) -> dict[str, Any]:
        """Arguments of every block."""
        bias = self.bias or self.norm == "none"
        return {"norm": self.norm, "activation": self.activation, "bias": bias}


def build_drinet(
    input_shape: tuple[int | None, ...], num_classes: int, config: DRINetConfig
) -> Any:
    """Build the network: image (batch, [z,] y, x, c) -> logits (batch, [z,] y, x, classes).

    Raises:
        ConfigError: an input size that the poolings do not divide.
    """
    config.check_size(input_shape[:-1])
    style = config.style
    inputs = keras.Input(input_shape, name="image")
    x = conv(inputs, filters=config.base_filters, bias=style["bias"], name="first")
    for level, growth in enumerate(config.growths):
        if level:
            x = downsample(x, stride=2, name=f"pool{level}")
        x, _ = dense_block(x, layers=3, growth=growth, name=f"encoder{level}", **style)
        x = norm_act_conv(x, filters=x.shape[-1], kernel=1, name=f"encoder{level}_mix", **style)
    x = normalise(x, kind=config.norm, name="bottom_norm")
    x = activate(x, kind=config.activation, name="bottom_act")
    for level in reversed(range(len(config.growths))):
        for number in range(1, _INCEPTIONS + 1):
            x = _residual_inception(x, style, name=f"decoder{level}_{number}")
        if level:
            x = _unpool(x, style, name=f"up{level}")
    return keras.Model(inputs, output_logits(x, num_classes, name="logits"), name="drinet")


def _residual_inception(x: Any, style: dict[str, Any], *, name: str) -> Any:
    """Branches of 1x1, 3x3 and dilated 3x3 convolutions, joined and added to the input."""
    channels = x.shape[-1]
    quarter, half = max(1, channels // 4), max(1, channels // 2)
    point = conv_norm_act(x, filters=quarter, kernel=1, name=f"{name}_point", **style)
    near = conv_norm_act(x, filters=quarter, kernel=1, name=f"{name}_near1", **style)
    near = conv_norm_act(near, filters=half, name=f"{name}_near2", **style)
    far = conv_norm_act(x, filters=quarter, kernel=1, name=f"{name}_far1", **style)
    far = conv_norm_act(far, filters=quarter, dilation=2, name=f"{name}_far2", **style)
    joined = keras.layers.Concatenate(name=f"{name}_concat")([point, near, far])
    joined = conv_norm_act(
        joined, filters=channels, kernel=1, name=f"{name}_join", **{**style, "activation": "none"}
    )
    return keras.layers.Add(name=f"{name}_add")([x, joined])


def _unpool(x: Any, style: dict[str, Any], *, name: str) -> Any:
    """Double the size and halve the channels, in two branches of different context."""
    half, quarter = max(1, x.shape[-1] // 2), max(1, x.shape[-1] // 4)
    near = conv_norm_act(x, filters=half, kernel=1, name=f"{name}_near", **style)
    far = conv_norm_act(x, filters=half, kernel=1, name=f"{name}_far1", **style)
    far = conv_norm_act(far, filters=half, dilation=2, name=f"{name}_far2", **style)
    branches = []
    for branch, y in (("near", near), ("far", far)):
        up = f"{name}_{branch}_up"
        y = transposed_conv(y, filters=quarter, kernel=3, stride=2, bias=style["bias"], name=up)
        y = normalise(y, kind=style["norm"], name=f"{up}_norm")
        branches.append(activate(y, kind=style["activation"], name=f"{up}_act"))
    return keras.layers.Concatenate(name=f"{name}_concat")(branches)
