"""What the classification networks share: options, heads, the model around them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, Literal

import keras
from pydantic import Field

from tfseg.errors import ConfigError
from tfseg.layers import AdaptiveAveragePooling, activate, rank_of
from tfseg.models.backbones.features import PUBLISHED_WIDTH, Style
from tfseg.models.config import ModelConfig


class BackboneConfig(ModelConfig):
    """Options of the classification networks; the defaults are the published values.

    Attributes:
        base_filters: 64 is the published width, and every layer's channels scale with it.
        dropout: before the last layer.
    """

    base_filters: Annotated[int, Field(ge=1, le=256)] = PUBLISHED_WIDTH
    norm: Literal["instance", "batch", "group", "none"] = "batch"
    activation: Literal["relu", "leaky_relu", "tanh"] = "relu"
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0

    @property
    def smallest(self) -> int:
        """The least voxels along an axis that leave something for the head."""
        return 1

    def style(self, name: str) -> Style:
        """Return how the encoder ``name`` is built."""
        return Style(
            base_filters=self.base_filters,
            norm=self.norm,
            activation=self.activation,
            prefix=f"{name}_",
        )


def build_classifier(
    name: str,
    input_shape: tuple[int | None, ...],
    config: BackboneConfig,
    body: Callable[[Any], Any],
) -> Any:
    """Return the model image (batch, [z,] y, x, c) -> ``body``'s logits (batch, classes).

    Raises:
        ConfigError: an input with fewer voxels than ``config.smallest`` along an axis.
    """
    spatial = input_shape[:-1]
    if any(size is not None and size < config.smallest for size in spatial):
        raise ConfigError(
            f"{name} needs at least {config.smallest} voxels along each axis; got {spatial}."
        )
    inputs = keras.Input(input_shape, name="image")
    return keras.Model(inputs, body(inputs), name=name)


def mean_head(x: Any, num_classes: int, *, dropout: float = 0.0, name: str = "logits") -> Any:
    """Average over all voxels, then a dense layer: (batch, [z,] y, x, c) -> (batch, classes)."""
    layer = (
        keras.layers.GlobalAveragePooling2D
        if rank_of(x) == 2
        else keras.layers.GlobalAveragePooling3D
    )
    return _logits(layer(name=f"{name}_mean")(x), num_classes, dropout=dropout, name=name)


def dense_head(
    x: Any,
    num_classes: int,
    *,
    cells: int,
    widths: tuple[int, ...],
    activation: str,
    dropout: float,
    name: str = "logits",
) -> Any:
    """Dense layers over ``cells`` averages along each axis: (batch, [z,] y, x, c) -> logits.

    Averaging makes any size fit; at the published size every cell is one voxel.
    """
    x = AdaptiveAveragePooling(cells, name=f"{name}_cells")(x)
    x = keras.layers.Flatten(name=f"{name}_flat")(x)
    for number, width in enumerate(widths):
        dense = f"{name}_dense{number + 1}"
        x = keras.layers.Dense(width, kernel_initializer="he_normal", name=dense)(x)
        x = activate(x, kind=activation, name=f"{dense}_act")
        if dropout and number < len(widths) - 1:
            x = keras.layers.Dropout(dropout, name=f"{dense}_dropout")(x)
    return _logits(x, num_classes, dropout=dropout, name=name)


def _logits(x: Any, num_classes: int, *, dropout: float, name: str) -> Any:
    if dropout:
        x = keras.layers.Dropout(dropout, name=f"{name}_dropout")(x)
    return keras.layers.Dense(num_classes, dtype="float32", name=name)(x)
