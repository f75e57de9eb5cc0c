"""Margins of zeros."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf


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
