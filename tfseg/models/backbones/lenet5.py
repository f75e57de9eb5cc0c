"""LeNet-5. LeCun, Bottou, Bengio, Haffner 1998, doi:10.1109/5.726791; 2D and 3D.

Two stages of an unpadded 5x5 convolution and average pooling, a 5x5 convolution to 120
channels, dense layers of 84 units and of the classes. Third-layer maps see all maps before
them, and the pooling has no coefficients of its own.
"""

from __future__ import annotations

from typing import Any, Literal

import keras

from tfseg.layers import conv_norm_act, rank_of
from tfseg.models.backbones.classifier import BackboneConfig, build_classifier, dense_head

_CELLS = 5  # along each axis before the third convolution, at the published size of 32


class LeNetConfig(BackboneConfig):
    """Options of :func:`build_lenet5`."""

    norm: Literal["instance", "batch", "group", "none"] = "none"
    activation: Literal["relu", "leaky_relu", "tanh"] = "tanh"

    @property
    def smallest(self) -> int:
        """What two unpadded convolutions and poolings need."""
        return 16


def build_lenet5(input_shape: tuple[int | None, ...], num_classes: int, config: LeNetConfig) -> Any:
    """Build the classifier: image (batch, [z,] y, x, c) -> logits (batch, classes)."""

    def body(x: Any) -> Any:
        style = config.style("lenet5")
        pool = keras.layers.AveragePooling2D if rank_of(x) == 2 else keras.layers.AveragePooling3D
        for number, filters in enumerate((6, 16), 1):
            x = conv_norm_act(
                x,
                filters=style.width(filters),
                kernel=5,
                padding="valid",
                name=f"{style.prefix}stage{number}",
                **style.block,
            )
            x = pool(2, name=f"{style.prefix}stage{number}_pool")(x)
        # The 5x5 convolution to one voxel is a dense layer over all that is left.
        return dense_head(
            x,
            num_classes,
            cells=_CELLS,
            widths=(style.width(120), style.width(84)),
            activation=config.activation,
            dropout=config.dropout,
        )

    return build_classifier("lenet5", input_shape, config, body)
