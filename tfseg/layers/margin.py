"""Margins: of zeros, and mirrored ones."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfseg.errors import ConfigError


@keras.saving.register_keras_serializable("tfseg")
class ZeroMargin(keras.layers.Layer):
    """Surround (batch, [z,] y, x, c) by ``margin`` voxels of zeros, one number or one an axis.

    Keras' own layer may not stand before a 3D convolution: TensorFlow's graph optimiser merges
    the two with oneDNN, forgets the convolution's own padding, and reads beyond small maps. It
    does not look for the operator that is used here.
    """

    def __init__(self, margin: int | Sequence[int], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.margin = margin if isinstance(margin, int) else tuple(margin)

    def _margins(self, rank: int) -> tuple[int, ...]:
        return (self.margin,) * rank if isinstance(self.margin, int) else self.margin

    def call(self, x: tf.Tensor) -> tf.Tensor:
        margins = [(size, size) for size in self._margins(x.shape.rank - 2)]
        return tf.pad(x, [(0, 0), *margins, (0, 0)], constant_values=tf.zeros((), x.dtype))

    def compute_output_shape(self, input_shape: Any) -> Any:
        spatial = input_shape[1:-1]
        margins = self._margins(len(spatial))
        grown = (size and size + 2 * more for size, more in zip(spatial, margins, strict=True))
        return (input_shape[0], *grown, input_shape[-1])

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "margin": self.margin}


@keras.saving.register_keras_serializable("tfseg")
class MirrorMargin(keras.layers.Layer):
    """Grow (batch, [z,] y, x, c) to ``size`` by what is mirrored at its border voxels.

    Where the margin is wider than the image it is mirrored again and again. Both sides grow alike;
    of an odd number of voxels the end gets one more. Voxels are picked by their places, as every
    exporter can, in 2D and 3D.

    Args:
        size: ([z,] y, x) to grow to, not below the input's, whose size must be known.

    Raises:
        ConfigError: at the first call, a size that does not fit the input's.
    """

    def __init__(self, size: Sequence[int], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.size = tuple(size)

    def build(self, input_shape: Any) -> None:
        spatial = tuple(input_shape[1:-1])
        if len(spatial) != len(self.size):
            raise ConfigError(f"size must be one number an axis; got {self.size} for {spatial}.")
        if None in spatial:
            raise ConfigError(f"a mirrored margin needs an input of known size; got {spatial}.")
        if any(want < have for have, want in zip(spatial, self.size, strict=True)):
            raise ConfigError(
                f"size must be at least as large as its input; got {self.size} for {spatial}."
            )

    def call(self, x: tf.Tensor) -> tf.Tensor:
        for axis, (have, want) in enumerate(zip(x.shape[1:-1], self.size, strict=True), start=1):
            if have != want:
                x = tf.gather(x, _mirrored(have, want), axis=axis)
        return x

    def compute_output_shape(self, input_shape: Any) -> Any:
        return (input_shape[0], *self.size, input_shape[-1])

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "size": self.size}


def _mirrored(have: int, want: int) -> Any:
    """Return for each of ``want`` places which of ``have`` voxels is seen there."""
    period = max(1, 2 * (have - 1))
    place = np.mod(np.arange(want) - (want - have) // 2, period)
    return np.minimum(place, period - place).astype(np.int32) if have > 1 else place * 0
