"""FCN with convolved skips. Nie et al. 2016, doi:10.1109/ISBI.2016.7493515; 2D and 3D.

"CC-3D-FCN", for the tissues of the infant brain on T1, T2 and FA: what the encoder passes on to
the decoder goes through a convolution of its own ("transform"), so that coarse and fine maps are
told apart before they are concatenated. The publication leaves the widths open: ours are 32, 64,
128, two convolutions each. The default has instance normalisation; ``faithful=True`` batch
normalisation and ReLU.
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

import keras
from pydantic import Field

from tfseg.layers import conv_norm_act, double_conv, downsample, transposed_conv
from tfseg.models.config import ModelConfig, output_logits


class NieFCNConfig(ModelConfig):
    """Options of :func:`build_nie_fcn3d`.

    Attributes:
        base_filters: channels of the finest level, which double with each level.
        depth: number of levels.
        norm: after each convolution.
        activation: after each norm.
        transform: convolve the encoder's maps before the decoder takes them.
        fusion: of the image's channels: at the ``input``, or one encoder, a ``branch``, each.
    """

    paper: ClassVar[dict[str, Any]] = {"norm": "batch", "activation": "relu"}

    base_filters: Annotated[int, Field(ge=1, le=256)] = 32
    depth: Annotated[int, Field(ge=2, le=6)] = 3
    norm: Literal["instance", "batch", "none"] = "instance"
    activation: Literal["relu", "leaky_relu"] = "leaky_relu"
    transform: bool = True
    fusion: Literal["input", "branch"] = "input"

    def divisor(self, rank: int) -> tuple[int, ...]:
        """Return what the poolings ask each axis to be divisible by."""
        return (2 ** (self.depth - 1),) * rank


def build_nie_fcn3d(
    input_shape: tuple[int | None, ...], num_classes: int, config: NieFCNConfig
) -> Any:
    """Build the network: image (batch, [z,] y, x, c) -> logits (batch, [z,] y, x, classes).

    Raises:
        ConfigError: an input size that the poolings do not divide.
    """
    config.check_size(input_shape[:-1])
    style: dict[str, Any] = {"norm": config.norm, "activation": config.activation}
    widths = [config.base_filters * 2**level for level in range(config.depth)]

    inputs = keras.Input(input_shape, name="image")
    levels = _encode(inputs, widths, config, style)
    x = levels[-1]
    for level in reversed(range(config.depth - 1)):
        skip = levels[level]
        if config.transform:
            skip = conv_norm_act(skip, filters=widths[level], name=f"transform{level}", **style)
        x = transposed_conv(x, filters=widths[level], stride=2, name=f"up{level}")
        x = keras.layers.Concatenate(name=f"decoder{level}_concat")([skip, x])
        x = double_conv(x, filters=widths[level], name=f"decoder{level}", **style)
    return keras.Model(inputs, output_logits(x, num_classes, name="logits"), name="nie_fcn3d")


def _encode(
    image: Any, widths: list[int], config: NieFCNConfig, style: dict[str, Any]
) -> list[Any]:
    """Return the map of each level, finest first: of all branches, concatenated."""
    branches = [image]
    if config.fusion == "branch" and image.shape[-1] > 1:
        branches = keras.ops.split(image, image.shape[-1], axis=-1)
    maps: list[list[Any]] = []
    for number, x in enumerate(branches):
        prefix = f"channel{number + 1}_" if len(branches) > 1 else ""
        maps.append([])
        for level, filters in enumerate(widths):
            if level:
                x = downsample(x, stride=2, name=f"{prefix}pool{level}")
            x = double_conv(x, filters=filters, name=f"{prefix}encoder{level}", **style)
            maps[-1].append(x)
    if len(branches) == 1:
        return maps[0]
    return [
        keras.layers.Concatenate(name=f"fusion{level}")(list(level_maps))
        for level, level_maps in enumerate(zip(*maps, strict=True))
    ]
