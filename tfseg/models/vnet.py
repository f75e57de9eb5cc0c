"""V-Net. Milletari, Navab, Ahmadi 2016, arXiv:1606.04797; 3D, and the same in 2D.

Residual stages of large convolutions, joined by strided and transposed convolutions of kernel
2. Each stage adds its input before its last activation; the first one's input, the image, is
repeated to the stage's channels, and a decoder stage's is the concatenation with the skip. With
``faithful=True`` it is the figure's: 5x5x5 kernels, PReLU, no normalisation. Other published
depths are options, e.g. the authors' released file (1, 1, 2, 3, 3) and (3, 2, 1, 1) with
``head="conv"``. The default has 3x3x3 kernels and instance normalisation: less than a quarter
of the weights.
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

import keras
from pydantic import Field, ValidationInfo, field_validator

from tfseg.layers import activate, conv, conv_norm_act, normalise, transposed_conv
from tfseg.models.config import ModelConfig, output_logits

_Counts = tuple[Annotated[int, Field(ge=1, le=8)], ...]


class VNetConfig(ModelConfig):
    """Options of :func:`build_vnet`.

    Attributes:
        base_filters: channels of the first stage; twice as many a stage down.
        encoder: convolutions of each stage on the way down, the bottom included.
        decoder: convolutions of each stage on the way up; one stage fewer.
        kernel: of the stages' convolutions.
        bias: keep the convolutions' biases although normalisation follows.
        head: ``project`` is one 1x1 convolution; ``conv`` has one of the stages' kernel and an
            activation before it.
    """

    paper: ClassVar[dict[str, Any]] = {"kernel": 5, "norm": "none"}

    base_filters: Annotated[int, Field(ge=1, le=512)] = 16
    encoder: Annotated[_Counts, Field(min_length=2, max_length=7)] = (1, 2, 3, 3, 3)
    decoder: Annotated[_Counts, Field(validate_default=True)] = (3, 3, 2, 1)
    kernel: Literal[3, 5, 7] = 3
    norm: Literal["instance", "batch", "none"] = "instance"
    activation: Literal["prelu", "elu", "relu", "leaky_relu"] = "prelu"
    bias: bool = False
    head: Literal["project", "conv"] = "project"

    @field_validator("decoder")
    @classmethod
    def _paired(cls, decoder: tuple[int, ...], info: ValidationInfo) -> tuple[int, ...]:
        encoder = info.data.get("encoder")
        if encoder is not None and len(decoder) != len(encoder) - 1:
            raise ValueError(f"must have one stage fewer than encoder, {encoder}")
        return decoder

    def divisor(self, rank: int) -> tuple[int, ...]:
        """Return what each axis of the input must be divisible by."""
        return (2 ** len(self.decoder),) * rank

    @property
    def style(self) -> dict[str, Any]:
        """Arguments of every convolution."""
        bias = self.bias or self.norm == "none"
        return {"norm": self.norm, "activation": self.activation, "bias": bias}


def build_vnet(input_shape: tuple[int | None, ...], num_classes: int, config: VNetConfig) -> Any:
    """Build the network: image (batch, [z,] y, x, c) -> logits (batch, [z,] y, x, classes).

    Raises:
        ConfigError: an input size that the strides do not divide.
    """
    config.check_size(input_shape[:-1])
    style = config.style
    inputs = keras.Input(input_shape, name="image")
    skips, x = [], inputs
    for level, convs in enumerate(config.encoder):
        filters = config.base_filters * 2**level
        if level:
            x = conv_norm_act(x, kernel=2, stride=2, filters=filters, name=f"down{level}", **style)
        shortcut = x if level else _repeated(inputs, filters)
        x = _stage(x, shortcut, filters, convs, config, name=f"encoder{level}")
        skips.append(x)
    for level, convs in zip(reversed(range(len(config.decoder))), config.decoder, strict=True):
        filters = config.base_filters * 2**level
        x = transposed_conv(x, filters=filters, stride=2, bias=style["bias"], name=f"up{level}")
        x = normalise(x, kind=config.norm, name=f"up{level}_norm")
        x = activate(x, kind=config.activation, name=f"up{level}_act")
        x = keras.layers.Concatenate(name=f"up{level}_concat")([x, skips[level]])
        x = _stage(x, x, 2 * filters, convs, config, name=f"decoder{level}")
    if config.head == "conv":
        x = conv_norm_act(x, filters=num_classes, kernel=config.kernel, name="head", **style)
    return keras.Model(inputs, output_logits(x, num_classes, name="logits"), name="vnet")


def _stage(
    x: Any, shortcut: Any, filters: int, convs: int, config: VNetConfig, *, name: str
) -> Any:
    """Convolutions whose last activation comes after the sum with the shortcut."""
    style = {**config.style, "filters": filters, "kernel": config.kernel}
    for number in range(1, convs):
        x = conv_norm_act(x, name=f"{name}_{number}", **style)
    x = conv_norm_act(x, name=f"{name}_{convs}", **{**style, "activation": "none"})
    x = keras.layers.Add(name=f"{name}_add")([x, shortcut])
    return activate(x, kind=config.activation, name=f"{name}_act")


def _repeated(image: Any, filters: int) -> Any:
    """Bring the image to ``filters`` channels: repeated, or projected if they do not divide."""
    channels = image.shape[-1]
    if channels == 1:
        return image  # the sum broadcasts it
    if filters % channels == 0:
        copies = [image] * (filters // channels)
        return keras.layers.Concatenate(name="image_repeated")(copies) if len(copies) > 1 else image
    return conv(image, filters=filters, kernel=1, bias=False, name="image_projected")
