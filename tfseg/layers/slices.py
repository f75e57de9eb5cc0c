"""From a volume to stacks of neighbouring slices for a 2D network, and back.

Li et al. 2017, arXiv:1709.07330, call the two F and its inverse.
"""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf


@keras.saving.register_keras_serializable("tfseg")
class SliceStacks(keras.layers.Layer):
    """Give each slice its neighbours as channels: 2.5D.

    (batch, z, y, x, c) -> (batch * z, y, x, (2 * reach + 1) * c); channels are ordered by slice,
    lowest z first. Past the ends the end slices are repeated: with reach 1 the first stack is
    slices 0, 0, 1.
    """

    def __init__(self, reach: int = 1, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.reach = reach

    def call(self, x: tf.Tensor) -> tf.Tensor:
        shape = tf.shape(x)
        padded = tf.concat([x[:, :1]] * self.reach + [x] + [x[:, -1:]] * self.reach, 1)
        shifted = [padded[:, start : start + shape[1]] for start in range(2 * self.reach + 1)]
        stacks = tf.concat(shifted, -1)
        return tf.reshape(stacks, (-1, shape[2], shape[3], stacks.shape[-1]))

    def compute_output_shape(self, input_shape: Any) -> Any:
        batch, depth, height, width, channels = input_shape
        stacks = None if None in (batch, depth) else batch * depth
        return (stacks, height, width, (2 * self.reach + 1) * channels)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "reach": self.reach}


@keras.saving.register_keras_serializable("tfseg")
class SlicesToVolume(keras.layers.Layer):
    """Put the slices ``inputs[0]`` (batch * z, y, x, c) together to volumes like ``inputs[1]``.

    Returns (batch, z, y, x, c).
    """

    def call(self, inputs: tuple[tf.Tensor, tf.Tensor]) -> tf.Tensor:
        slices, reference = inputs
        size, wanted = tf.shape(slices), tf.shape(reference)
        return tf.reshape(slices, (-1, wanted[1], size[1], size[2], slices.shape[-1]))

    def compute_output_shape(self, input_shape: Any) -> Any:
        slices, reference = input_shape
        return (reference[0], reference[1], *slices[1:])
